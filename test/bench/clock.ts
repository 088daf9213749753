/** Milliseconds on a clock that all processes of this host share, so that one may note a start and another an end. */
export const sharedNow = (): number => Number(process.hrtime.bigint()) / 1e6
