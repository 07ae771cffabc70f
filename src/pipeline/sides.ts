import type { FlowRecord } from '../kernel/index.ts';
import { type Address, keyOfAddress, maskAddress, type Origin, type Prefix } from '../model/index.ts';
import { KEY_WORDS } from './key-index.ts';

/** What Sides hears of the kernel's link events (src/kernel: LinkAddress, LinkRoute). */
export type SidesChange =
  | { readonly kind: 'address' | 'addressGone'; readonly address: Address; readonly ifindex: number }
  /** `ifindex` of the output device; absent where there is none or several. */
  | { readonly kind: 'route' | 'routeGone'; readonly prefix: Prefix; readonly ifindex?: number | undefined };

/** Addresses whose device is remembered; when it is full, all are looked up anew. */
const MOST_REMEMBERED = 65_536;
/** In place of a device: the address is the box's own; none leads there, or several. */
const OWN = -1;
const NONE = 0;

/** Routes kept; a full table of the internet is more than a home gateway's business, and the first to come stay. */
export const MAX_ROUTES = 100_000;

/**
 * Which side of the links an address is on, as the box itself would route to it.
 *
 * *Inside* is every address of the box, and whatever it would send to by a device that is no link of the policy.
 * All else is outside: what lies behind a link, and what no route or several lead to.
 */
export class Sides {
  readonly #isLink: (ifindex: number) => boolean;
  /** The devices that an address of ours stands on: it is told again whenever its lifetime changes. */
  readonly #own = new Map<string, Set<number>>();
  /** By family and prefix length, so that the longest match is found with one lookup a length. */
  readonly #routes = new Map<number, Map<string, number[]>>();
  #lengths: number[] = [];
  #count = 0;
  /** By an IPv4 address as a record's word has it, the device that {@link #deviceOf} found. */
  readonly #v4 = new Map<number, number>();
  readonly #v6 = new Map<string, number>();

  /** @param isLink says of a device's index whether it is a link of the policy, now */
  constructor(isLink: (ifindex: number) => boolean) {
    this.#isLink = isLink;
  }

  /** Forgets everything: the kernel is about to tell it again. */
  clear(): void {
    this.#own.clear();
    this.#routes.clear();
    this.#lengths = [];
    this.#count = 0;
    this.#forget();
  }

  apply(change: SidesChange): void {
    this.#forget();
    if (change.kind === 'address') this.#addOwn(change.address, change.ifindex);
    else if (change.kind === 'addressGone') this.#delOwn(change.address, change.ifindex);
    else if (change.kind === 'route') this.#addRoute(change.prefix, change.ifindex ?? 0);
    else if (change.kind === 'routeGone') this.#delRoute(change.prefix, change.ifindex ?? 0);
  }

  /** The address is one of this box. */
  isOwn(address: Address): boolean {
    return this.#own.has(keyOfAddress(address));
  }

  /**
   * Who opened the connection of a conntrack record: one that crosses a link has one end inside. Undefined: it stays inside
   * (between hosts of the LAN, over loopback, by hairpin NAT) and is none of our business. `new`: neither end can be placed.
   * What was found of an address is remembered.
   */
  originOfRecord(record: Pick<FlowRecord, 'family' | 'words' | 'word' | 'original' | 'reply'>): Origin | undefined {
    // The opener as it is before masquerade, and who answers it behind DNAT.
    const opener = this.#isDeviceInside(this.#lookUp(record, SOURCE.original));
    const answerer = this.#isDeviceInside(this.#lookUp(record, SOURCE.reply));
    if (opener !== answerer) return opener ? 'local' : 'remote';
    if (opener) return undefined;
    // A host behind an inside router to which we know no route: that the box translated its address gives it away.
    if (this.isOwn(record.reply().destination)) return 'local';
    if (this.isOwn(record.original().destination)) return 'remote';
    return 'new';
  }

  #isDeviceInside(device: number): boolean {
    return device === OWN || (device !== NONE && !this.#isLink(device));
  }

  /** The device that leads to an address; {@link OWN}, {@link NONE}. */
  #deviceOf(address: Address): number {
    if (this.#own.has(keyOfAddress(address))) return OWN;
    for (const length of this.#lengths) {
      if (length >> 8 !== address.length) continue;
      const devices = this.#routes.get(length)!.get(keyOfAddress(maskAddress(address, length & 0xff)));
      // Several routes of one length: the kernel prefers by metric, which says nothing of sides; the first known counts.
      if (devices) return devices[0]!;
    }
    return NONE;
  }

  #lookUp({ family, words, word }: Pick<FlowRecord, 'family' | 'words' | 'word'>, offset: number): number {
    const at = word + offset;
    // Signed, so that it is a small integer for V8, and allocates nothing.
    const v4 = words[at]! | 0;
    const known = family === 4 ? this.#v4.get(v4) : this.#v6.get(textOf(words, at));
    if (known !== undefined) return known;
    const device = this.#deviceOf(new Uint8Array(words.buffer, words.byteOffset + at * 4, family === 4 ? 4 : 16));
    if (this.#v4.size + this.#v6.size >= MOST_REMEMBERED) this.#forget();
    if (family === 4) this.#v4.set(v4, device);
    else this.#v6.set(textOf(words, at), device);
    return device;
  }

  #forget(): void {
    this.#v4.clear();
    this.#v6.clear();
  }

  #addOwn(address: Address, device: number): void {
    const devices = this.#own.get(keyOfAddress(address));
    if (devices) devices.add(device);
    else this.#own.set(keyOfAddress(address), new Set([device]));
  }

  #delOwn(address: Address, device: number): void {
    const devices = this.#own.get(keyOfAddress(address));
    if (devices?.delete(device) && devices.size === 0) this.#own.delete(keyOfAddress(address));
  }

  #addRoute(prefix: Prefix, device: number): void {
    if (this.#count >= MAX_ROUTES) return;
    const length = (prefix.address.length << 8) | prefix.length;
    let routes = this.#routes.get(length);
    if (!routes) {
      routes = new Map();
      this.#routes.set(length, routes);
      this.#lengths = [...this.#routes.keys()].sort((a, b) => b - a);
    }
    const key = keyOfAddress(prefix.address);
    const devices = routes.get(key);
    if (!devices) routes.set(key, [device]);
    else if (!devices.includes(device)) devices.push(device);
    else return;
    this.#count++;
  }

  #delRoute(prefix: Prefix, device: number): void {
    const length = (prefix.address.length << 8) | prefix.length;
    const routes = this.#routes.get(length);
    const devices = routes?.get(keyOfAddress(prefix.address));
    const at = devices?.indexOf(device) ?? -1;
    if (!routes || !devices || at < 0) return;
    devices.splice(at, 1);
    this.#count--;
    if (devices.length > 0) return;
    routes.delete(keyOfAddress(prefix.address));
    if (routes.size > 0) return;
    this.#routes.delete(length);
    this.#lengths = [...this.#routes.keys()].sort((a, b) => b - a);
  }
}

/** Where in a record's identity the source addresses of its tuples begin, in words. */
const SOURCE = { original: 1, reply: KEY_WORDS } as const;

/** An IPv6 address in a record as a key. */
const textOf = (words: Uint32Array, at: number): string =>
  String.fromCharCode(words[at]! >>> 16, words[at]! & 0xffff, words[at + 1]! >>> 16, words[at + 1]! & 0xffff) +
  String.fromCharCode(words[at + 2]! >>> 16, words[at + 2]! & 0xffff, words[at + 3]! >>> 16, words[at + 3]! & 0xffff);
