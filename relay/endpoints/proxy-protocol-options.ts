import { networks, valued } from '../option-types.ts'
import type { OptionGroup } from '../options.ts'
import type { ProxyVersion } from '../proxies/proxy-header.ts'

const trusted = networks('proxy-protocol', {
  aliases: ['accept-proxy'],
  summary: 'serve proxies of these networks only, which say by the PROXY protocol who their clients are',
})

/** Of listeners behind a proxy that says who its clients are. */
export const acceptProxyOptions = {
  name: 'proxy-protocol',
  options: {
    trustedProxies: {
      ...trusted,
      read(text: string | undefined): ReturnType<typeof trusted.read> {
        const reading = trusted.read(text)
        if ('problem' in reading || reading.value.every(({ bits }) => bits > 0)) return reading
        return {
          problem: 'anybody could then say to be anybody',
          write: 'the networks of the proxies, e.g. `proxy-protocol=10.0.0.5/32`',
        }
      },
    },
  },
} as const satisfies OptionGroup

/** Of targets that want to know who the client is. */
export const sendProxyOptions = {
  name: 'proxy-protocol',
  options: {
    sendProxy: valued<ProxyVersion>(
      'proxy-protocol',
      { aliases: ['send-proxy'], summary: 'tell it first, by the PROXY protocol, who the client is' },
      '<version>',
      'v2',
      text =>
        text === 'v1' || text === 'v2'
          ? { value: text }
          : {
              problem: 'it is no version of the PROXY protocol',
              write: '`proxy-protocol=v1` or `proxy-protocol=v2`',
            },
    ),
  },
} as const satisfies OptionGroup
