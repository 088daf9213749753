import type { X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Address } from './address.ts'
import type { RelayError } from './errors.ts'
import type { Cidr } from './ip.ts'
import type { OptionGroup } from './options.ts'
import type { ProgramPolicy } from './programs/policy.ts'
import type { Remark } from './remark.ts'
import type { SerialControl } from './serial/control.ts'

/** From host to host, or by way of the controller, which joins what it cannot read. */
export type TunnelWay = 'straight' | 'controller'

/** Who is at the other end of a channel, as far as the kernel and the handshake can tell. */
export interface Peer {
  /** `203.0.113.7:51234`, `[::1]:51234`, `memory:orders#3`. Never text that the peer chose. */
  readonly text: string
  /** The bare IP, for source rules and rates; absent where the kind has none. */
  readonly ip?: string
  /** The verified certificate's name, where the kind has one. */
  readonly identity?: string
  /** One conversation with many senders: the listener asks `OpenContext.hears` about each. `ip` is absent then. */
  readonly many?: true
  /** Where it has reached us, where the kind knows: an IP and a port, or a path. Few ask, so it is a question. */
  readonly local?: () => { readonly address: string; readonly port?: number } | undefined
  /** Of a peer on another host: how its tunnel goes. */
  readonly way?: TunnelWay
  /** The certificate that vouches for `identity`. */
  readonly certificate?: () => X509Certificate | undefined
}

/**
 * An open conversation, both ways. Whoever holds it disposes it: disposal closes it at once and waits until its
 * descriptors are gone. Errors arrive on `stream` as `error`, before `close`.
 */
export interface Channel extends AsyncDisposable {
  /** Opened with `allowHalfOpen`: the end of one direction leaves the other alone. */
  readonly stream: Duplex
  /** `datagram`: one chunk is one datagram, and stays one. */
  readonly framing: 'stream' | 'datagram'
  readonly peer: Peer
  /**
   * For what carries one way only. `source`: can only be read; what is meant for it is swallowed. `sink`: can only be
   * written; its `stream` never ends by itself, and nobody waits for it to.
   */
  readonly oneWay?: 'source' | 'sink'
  /** It ends after this much silence unless the relay says otherwise: no peer will tell that it is over. */
  readonly idleMs?: number
  /**
   * Its end is the end of both directions: nobody is left there who could read. The conversation is over when the
   * other side has all that came before.
   */
  readonly hangsUp?: true
  /**
   * Of datagrams: from now on what is written comes from a stream, whose chunks mean nothing, and each datagram takes
   * as much of it as is wise.
   */
  cutsStream?(): void
  /**
   * Of streams that may run out of room: from now on what is written are datagrams. One that finds no room is dropped
   * and counted as `disk-full`, and the channel lives on; without this, no room is an error.
   */
  mayLose?(): void
  /** Its client has said where it wants to go, and waits for an answer. */
  readonly asked?: Asked
  /** Its client waits to hear whether the target is open. */
  readonly awaited?: Awaited
  /** A faster way to read, for kinds that have one. */
  readonly lender?: Lender
  /** Once its `stream` has called back for a write, nobody looks at the written bytes any more: it may be lent them. */
  readonly borrows?: true
  /** Its bytes are those of a serial line, which has more to it than bytes. */
  readonly serial?: SerialControl
  /**
   * Of a client that has to do with more of its target than bytes: called once, when the target is open and before
   * anything of the client is read. `mayAct` is to be asked before anything is done for the client. What it answers is
   * called when no more bytes flow, and awaited before the target is closed. Neither throws.
   */
  joined?(far: Channel, mayAct: () => boolean): (() => Promise<void>) | undefined
  /** What it says of how it went, once it is disposed: a program that failed, for instance. Nothing is wrong if absent. */
  verdict?(): RelayError | undefined
  /** Now, with RST where the kernel has one. May be called at any time, any number of times. */
  abort(reason: RelayError): void
}

/** Where a client wants to go, in its own words, of which nothing is checked but their form. */
export interface Destination {
  /** An IP in its canonical form, or a name. */
  readonly host: string
  readonly port: number
}

export interface Awaited {
  /** By what its client lists the connection, where it has said so. */
  readonly connectionId?: string
  /** Tells the client that the way is open: called once, before any byte of the far side. */
  granted(far: Channel): void
  /** Tells the client why not, and resolves when it has had a chance to read it. */
  refused(error: RelayError): Promise<void>
}

export interface Asked extends Destination, Awaited {}

/**
 * Reading without an allocation for each read: bytes are lent instead of given away. What is lent can be written to a
 * channel that borrows, and to no other.
 */
export interface Lender {
  /**
   * From now on `take` gets what arrives, in place of `data` listeners; `end`, `error` and `close` stay as they are.
   * `take` returns true when it is done with the bytes. If it returns false they stay as they are, and nothing more is
   * read, until `returned` is called. As with `data`, reading begins with `stream.resume()`.
   */
  lend(take: (bytes: Buffer) => boolean): void
  /** What `take` has kept may be used again. */
  returned(): void
}

/** May this target be opened? The host's owner decides; the engine asks before it dials. */
export interface EgressPolicy {
  /**
   * Throws a RelayError `denied` when `address`, once its host has resolved to `ip`, may not be dialled. `address` is
   * the endpoint's scope; `ip` is canonical, and absent for kinds that have none.
   */
  check(address: Address, ip?: string): void
  /**
   * Throws as `check` does when a line forbids `address`, whatever permits it. Asked about the other names that links
   * give to a path. Nothing is forbidden if absent.
   */
  checkForbidden?(address: Address): void
  /**
   * Throws as `check` does when links take the path of `address`, which is permitted, to `led`, where no line permits
   * it. The links among the directories that a line names in full are its writer's, and are followed in it too.
   */
  checkLed?(address: Address, led: Address): void
  /**
   * Throws as `check` does when a line forbids the target `address`, or when it is always denied, for one that somebody
   * else reaches for us. What a name means there nobody here knows: it counts as inside of every network that a line
   * forbids.
   */
  checkBeyond?(address: Address): void
}

/** A part of the way to a target: the proxy, as the TCP target that it is, and what is reached through it. */
export interface Leg {
  readonly scope: Address
  /** Who finds out what its name means. What is resolved `there` is judged by `checkBeyond`. */
  readonly resolved: 'here' | 'there'
}

/** All addresses of a name, best first. */
export type Lookup = (
  host: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>

/** What a listener turns away by itself: see `refusalCauses`. */
export type TurnedAway =
  | 'descriptors'
  | 'source-port'
  | 'queue-full'
  | 'displaced'
  | 'amplification'
  | 'overflow'
  | 'cut-peer'
  | 'untrusted-proxy'
  | 'disk-full'

/** What `cert=auto` takes. All of it is PEM. */
export interface FleetCertificate {
  readonly key: string
  readonly certificate: string
  /** Who has signed it, and all others of the fleet. */
  readonly authority: string
}

/** Where `cert=auto` gets its certificate: one for all addresses of a relay. */
export interface Certificates {
  /** The one that counts now. Rejects with a RelayError when there is none to be had. */
  obtain(): Promise<FleetCertificate>
  /** Told of each that takes the place of one that was obtained. Answers how to stop. */
  onRenewed(listener: (renewed: FleetCertificate) => void): () => void
}

/** What a certificate of the fleet's authority has to be good for, so that the address can use it. */
export interface CertificateWish {
  readonly side: 'client' | 'server'
  /** The hosts and IPs that the address has in it. */
  readonly names: readonly string[]
  /** The address leaves open for whom it is: it is for the host that runs it, too. */
  readonly namesHost: boolean
}

/**
 * What an opening is at, or has done. Not all come to all of them: a target by its IP resolves nothing, one without TLS
 * secures nothing, and a Unix socket is opened in one.
 */
export type Step = 'resolving' | 'dialling' | 'connected' | 'securing' | 'secured'

/** What an endpoint may use while it opens. */
export interface OpenContext {
  /** Aborted when the relay stops waiting: an opening must then fail soon and leave nothing behind. */
  readonly signal: AbortSignal
  readonly egress: EgressPolicy
  /** The relay of the fleet that opens it, by its name, if it is one. */
  readonly relay?: string
  /** Whom a target is opened for, if anybody. */
  readonly client?: Peer
  /** The connection that a target is opened for, if any. */
  readonly connectionId?: string
  /** What programs may have that are started; `defaultPolicy` if absent. */
  readonly programs?: ProgramPolicy
  /** How names become addresses; the system's resolver if absent. */
  readonly lookup?: Lookup
  /** Absent where no fleet is: `cert=auto` is then refused. */
  readonly certificates?: Certificates
  /** The channel will only be read, or only be written: what has to say so when it opens, says no more than that. */
  readonly uses?: 'read' | 'write'
  /** Where the client wants to go, for a target that goes where it is asked to. */
  readonly asked?: Destination
  /**
   * The way to an address on yet another host, for a target that an operator's command has opened here and that goes
   * on. Throws a RelayError when it is no such address.
   */
  readonly onward?: (address: string) => Dialer
  /**
   * A listener asks for each arrival before it hands it over; `false`: it resets the arrival, which then does not
   * count as the one connection of a listener without `fork`. All are admitted if absent.
   */
  readonly admit?: (peer: Peer) => boolean
  /**
   * A listener whose arrivals must first show who they are asks this before it lets one begin; `false`: it resets the
   * arrival. `admit` is asked when it is through. Such a listener screens every arrival.
   */
  readonly screen?: (peer: Peer) => boolean
  /** A screened arrival that did not get through, and why. */
  readonly failed?: (error: RelayError, peer: Peer) => void
  /**
   * A listener whose one conversation is with many senders asks for each datagram; `false`: it drops it. All are
   * heard if absent.
   */
  readonly hears?: (ip: string | undefined) => boolean
  /** Told of arrivals that a listener had to reset for want of room, without asking, and of dropped datagrams. */
  readonly turnedAway?: (cause: TurnedAway, peer: Peer) => void
  /** Told of failures while the opening goes on, because the address asks for more tries. The last one is thrown. */
  readonly retrying?: (error: RelayError, retryAt: Date) => void
  /** Told of what those who run the fleet want to hear. Absent where there is nobody to tell. */
  readonly remark?: (remark: Remark) => void
  /** Told of each step as it comes to it; of `dialling` once for each address that is tried, with the IP. */
  readonly progress?: (step: Step, ip?: string) => void
}

/**
 * Opens one channel a call. Rejects with a RelayError that names the address. It bounds itself: what has a far side
 * that may stay silent gives up after its connect-timeout, ten seconds unless the address says otherwise.
 */
export interface Dialer {
  dial(cx: OpenContext): Promise<Channel>
}

/** Starts to listen. Rejects with a RelayError that names the address, and then holds nothing. */
export interface Acceptor {
  listen(cx: OpenContext): Promise<Listener>
}

/**
 * The channels that arrive, in order. Ends when it is disposed; disposal closes the listening socket at once and
 * leaves accepted channels alone (they belong to whoever took them). Channels that were accepted but not yet
 * taken are aborted.
 */
export interface Listener extends AsyncIterable<Channel>, AsyncDisposable {
  /** Where it listens, with the port that the kernel chose: `127.0.0.1:8080`. */
  readonly local: string
  /** Turns away those who wait to be taken and are not welcome any more. Absent where nobody can wait. */
  readonly turnAway?: (isUnwelcome: (peer: Peer) => boolean) => void
}

/** Wraps a channel: TLS over anything, dump over anything. On rejection the inner channel is disposed. */
export type Layer = (inner: Channel, cx: OpenContext) => Promise<Channel>

/** A bound address: validated, nothing opened yet. */
export interface Endpoint {
  readonly address: Address
  /**
   * The address as the ceiling's patterns see it: who would be reached or who could reach us, with defaults filled
   * in. `TCP4-LISTEN:8080,bind=127.0.0.1,fork` has the scope `TCP4-LISTEN:127.0.0.1:8080`.
   */
  readonly scope: Address
  /** The files that are read to open it, as the ceiling sees them: `OPEN:/etc/ssl/web.pem,rdonly`. */
  readonly reads?: readonly Address[]
  /** The files that are made or written beside it, as the ceiling sees them: `OPEN:/run/lock/web,wronly,creat`. */
  readonly writes?: readonly Address[]
  /** Of a dual address `READ!!WRITE`: both, each of which the ceiling must permit. */
  readonly halves?: readonly [read: Endpoint, write: Endpoint]
  /** It asks for a certificate of the fleet's authority. */
  readonly certificate?: CertificateWish
  /** Where others than those it talks to can reach it too, as the ceiling sees it: `UDP4-RECV:0.0.0.0:6666`. */
  readonly listens?: Address
  /** What is reached on the way, as the ceiling sees it: each must be permitted, beside `scope`. */
  readonly legs?: readonly Leg[]
  /** Of a listener: its clients set the line of their target, if it has one. */
  readonly setsLine?: true
  /** Of a listener: its clients say where they want to go, and only a target with `goesWhereAsked` hears them. */
  readonly asks?: true
  /** Of a target: it goes where each client asks to. What that may be by its address, as the ceiling's patterns say it. */
  readonly goesWhereAsked?: readonly Address[]
  readonly dialer?: Dialer
  readonly acceptor?: Acceptor
  /**
   * Of what is at work with nobody there, as the log of a serial port: called before the relay listens, and what it
   * resolves with is disposed when that is stopped, or has ended and all who came are gone. Rejects with a RelayError,
   * and then the relay does not listen.
   */
  attend?(cx: OpenContext): Promise<AsyncDisposable>
  /**
   * Of a target with one thing to do: is it still to be done? A listener without `fork` then waits for another
   * connection after its one is over. What has been done stays done for as long as the address is bound.
   */
  readonly unfinished?: () => boolean
  /** What the address itself says about who may connect. The relay enforces it, beside its own limits. */
  readonly admission?: AddressAdmission
}

export interface AddressAdmission {
  /** Sources of these networks only. With both `range` and `allow`, of either. */
  readonly range?: readonly Cidr[] | undefined
  readonly allow?: readonly Cidr[] | undefined
  readonly deny?: readonly Cidr[] | undefined
  /** Served at a time; more wait until one is over. */
  readonly maxChildren?: number | undefined
}

/** One row of THE TABLE. */
export interface EndpointKind {
  readonly keyword: string
  readonly aliases: readonly string[]
  /** As in the reference: `TCP4-LISTEN:<port>`. */
  readonly syntax: string
  readonly summary: string
  readonly groups: readonly OptionGroup[]
  readonly role: 'target' | 'listen' | 'both'
  /** Opening it shows whether a server is there, and does nothing else: health checks may open it. */
  readonly checkable?: true
  /** Opening it sends nothing; a probe sends an empty datagram, and waits for an answer or for the kernel's word. */
  readonly knockable?: true
  /** Of a listener: who comes has answered a handshake at its IP, which therefore cannot be forged. */
  readonly provesSources?: true
  /** A pattern for any of these keywords covers this kind too: a `TCP` line in a ceiling covers `TCP4`. */
  readonly covers?: readonly string[]
  /** The options that a ceiling's line may have, because the scope tells of them. All that it has, if absent. */
  readonly ruled?: readonly string[]
  /** Only for relays that somebody runs by hand, with the reason: no ceiling can permit it. */
  readonly byHand?: string
  /** Validates, opens nothing. Throws a RelayError `usage` that says what is wrong and what would be right. */
  bind(address: Address): Endpoint
}
