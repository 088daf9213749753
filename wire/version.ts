/** The version of this build, as `fleetcat version`, Hello and the status say it. A test holds it to package.json. */
export const version = '0.1.0'
