import { describe, expect, test } from 'vitest'
import { readCommandLine } from '#cli/socat/command-line.ts'
import { toPlan } from '#cli/socat/plan.ts'
import { shellWords } from '#cli/socat/shell-words.ts'
import { RelayError } from '#relay/errors.ts'

/** Lines as people copy them from manuals, with another host or port: what becomes of each. */
const lines: readonly (readonly [line: string, refused?: RegExp])[] = [
  // A client, a server, a relay.
  ['socat - TCP4:www.example.com:80'],
  [
    'socat -d -d READLINE,history=$HOME/.http_history TCP4:www.example.com:www,crnl'.replace(
      '$HOME',
      '/root',
    ),
  ],
  ['socat TCP4-LISTEN:www TCP4:www.example.com:www'],
  [
    'socat -d -d -lmlocal2 TCP4-LISTEN:80,bind=127.0.0.1,reuseaddr,fork,range=10.0.0.0/8 TCP4:www.example.com:80,bind=127.0.0.2',
  ],
  [
    'socat -T 15 -d -d TCP4-LISTEN:8080,reuseaddr,fork,backlog=128,keepalive,nodelay TCP4:10.0.0.5:80,connect-timeout=5',
  ],
  ['socat TCP6-LISTEN:8080,ipv6only,fork TCP6:[2001:db8::5]:80'],
  ['socat TCP-LISTEN:5555,fork,max-children=4,accept-timeout=30 TCP:[::1]:http'],
  ['socat TCP4-LISTEN:5000,fork,tcpwrap=script OPEN:/tmp/in,append', /`tcpwrap` is not supported.*`allow=`/],
  ['socat TCP4-LISTEN:80,fork,su=nobody TCP4:www.example.com:80', /`su` is not supported/],
  ['socat - TCP4:10.0.0.5:25,lowport', /`lowport` is not supported.*sourceport=/],
  // Files.
  ['socat -u TCP4-LISTEN:3334,reuseaddr,fork OPEN:/tmp/in.log,creat,append'],
  ['socat - FILE:/tmp/notes.txt,ignoreeof!!FILE:/tmp/notes.txt,append'],
  ['socat -u /tmp/readdata,seek-end=0,ignoreeof -'],
  ['socat -U TCP:10.0.0.5:9999,end-close TCP-L:8888,reuseaddr,fork'],
  ['socat -u /dev/zero,readbytes=65536 CREATE:/tmp/zeros,mode=600'],
  ['socat TCP4-LISTEN:3000 /tmp/file,create,excl'],
  ['socat PIPE:/tmp/fifo,mode=600 TCP4:127.0.0.1:4000'],
  ['socat - PIPE'],
  // Programs.
  ["socat TCP4-LISTEN:1234,reuseaddr,fork EXEC:'/bin/cat',pipes"],
  ["socat - EXEC:'ssh -l user server',pty,setsid,ctty"],
  ["socat - SYSTEM:'while read x; do echo \\$x; done'"],
  ['socat EXEC:"/usr/bin/tail -f /var/log/syslog",nofork STDOUT'],
  // Unix sockets.
  ['socat UNIX-LISTEN:/tmp/app.sock,fork,unlink-early,mode=660,user=root,group=root TCP4:db:5432'],
  ['socat TCP4-LISTEN:6000,fork,range=127.0.0.1/32 UNIX-CONNECT:/tmp/.X11-unix/X0'],
  ['socat ABSTRACT-LISTEN:bus,fork ABSTRACT-CONNECT:other'],
  ['socat - UNIX-SENDTO:/dev/log', /Unix sockets for streams only/],
  // UDP, multicast, broadcast.
  ['socat UDP4-LISTEN:53,fork,reuseaddr UDP4:9.9.9.9:53'],
  ['socat -u UDP4-RECV:514 OPEN:/tmp/messages,creat,append'],
  ['socat - UDP4-DATAGRAM:224.1.0.1:6666,bind=:6666,ip-add-membership=224.1.0.1:eth0'],
  ['socat UDP4-RECVFROM:9999,broadcast,fork EXEC:/bin/hostname'],
  ['socat - UDP4-DATAGRAM:192.168.1.255:9999,broadcast'],
  ['echo x', /./],
  // TLS.
  ['socat - SSL:server:4443,cafile=/etc/server.crt,cert=/etc/client.pem'],
  ['socat OPENSSL-LISTEN:4443,reuseaddr,pf=ip4,fork,cert=/etc/server.pem,cafile=/etc/client.crt PIPE'],
  ['socat OPENSSL-LISTEN:4443,cert=/etc/server.pem,verify=0 ECHO'],
  ['socat - OPENSSL:server:443,method=TLS1', /method/],
  ['socat - OPENSSL-DTLS-CLIENT:server:4443', /Node has no DTLS/],
  // Proxies.
  [
    'socat TCP4-LISTEN:2022,reuseaddr,fork PROXY:proxy.example:www.example.com:22,proxyport=3128,proxyauth=user:pass',
    /proxy-authorization-file=/,
  ],
  ['socat TCP4-L:80,fork SOCKS4A:socks.example:www.example.com:80,socksport=1080,socksuser=nobody'],
  // Terminals.
  ['socat PTY,link=/tmp/modem,raw,echo=0,wait-slave TCP4:terminal.example:5000'],
  ['socat -,raw,echo=0,escape=0x0f EXEC:"/bin/bash -i",pty,stderr,setsid'],
  ['socat TCP4-LISTEN:2001,fork FILE:/dev/ttyS0,b115200,raw,echo=0,crtscts'],
  // What Node has no sockets for.
  ['socat - SCTP4:server:5000', /Use TCP, UDP or a Unix socket/],
  ['socat - IP4-DATAGRAM:255.255.255.255:44', /Use TCP, UDP or a Unix socket/],
  ['socat TUN:192.168.255.1/24,up TCP:peer:11443', /Forward the ports that are needed/],
  ['socat VSOCK-LISTEN:8888 STDIO', /Use TCP, UDP or a Unix socket/],
  ['socat SOCKET-DATAGRAM:18:2:17:x00 FD:3', /Use TCP, UDP or a Unix socket/],
  // Slips.
  ['socat TCP:localhost - -', /2 addresses/],
  ['socat - TCP:localhost', /TCP:<host>:<port>/],
  ['socat - localhost:80', /write `TCP:localhost:80`/],
  ['socat - TCP:localhost:80,reuseadr', /Did you mean `reuseaddr`/],
  ['socat TCP-LISTN:80 -', /Did you mean `TCP-LISTEN`/i],
]

function bind(line: string): void {
  const words = shellWords(line)
  if (words[0] !== 'socat')
    throw new RelayError('usage', { what: line, why: 'it is no line of socat', fix: 'x' })
  const { settings, addresses } = readCommandLine(words.slice(1))
  const [first = '', second = ''] = addresses
  if (addresses.length !== 2)
    throw new RelayError('usage', { what: line, why: 'there are not 2 addresses', fix: 'x' })
  toPlan([first, second], settings, { listening() {}, dropped() {} })
}

describe('a line copied from a manual', () => {
  test.each(lines.map(([line, refused]) => ({ line, refused })))('$line', ({ line, refused }) => {
    if (!refused) return bind(line)
    try {
      bind(line)
    } catch (error) {
      if (!(error instanceof RelayError)) throw error
      expect(error.message).toMatch(refused)
      expect(error.fix).not.toBe('')
      return
    }
    throw new Error('it was accepted')
  })
})
