import { HeadgateError } from '../model/index.ts';
import { CLASSIFIER_OBJECT } from './built.ts';

/** What the classifier is told before it is loaded. Class numbers are minors, 1..0xffff. */
export interface ClassifierConfig {
  /** Of the classes, as a handle: 0x7fe00000 for `7fe0:`. */
  readonly major: number;
  /** Bits of the conntrack mark that hold a class number; it overrides the origin. 0: the mark says nothing. */
  readonly markMask: number;
  /** Position of the mask's lowest bit, 0..31. */
  readonly markShift: number;
  /** A number above it in the mark is not obeyed: some earlier policy wrote it. Absent: every number is. */
  readonly highestClass?: number | undefined;
  readonly localClass: number;
  readonly remoteClass: number;
  readonly newClass: number;
  /** The classes, up to 127, that the program `pick` matches; absent: none. */
  readonly picked?: readonly number[] | undefined;
}

/** `struct steer_config` of native-shim/bpf/steer.h: size and offsets in bytes. */
export const CLASSIFIER_CONFIG = {
  size: 48,
  major: 0,
  mark_mask: 4,
  mark_shift: 8,
  highest_class: 12,
  local_class: 16,
  remote_class: 20,
  new_class: 24,
  reserved: 28,
  picked: 32,
} as const;

/** The classifier's map of counters, for {@link getBpfCounters}. */
export const VERDICT_MAP = 'verdicts';

/**
 * The classifier's map of one value, for {@link getBpfValue}: CLOCK_MONOTONIC (process.hrtime.bigint()) from which on
 * every packet passes untouched; 0, as it is loaded: never.
 */
export const DEADLINE_MAP = 'deadline';

/** The map of `egress` whose one value is the time, as of CLOCK_MONOTONIC in ns, until which it tells the class in the packet; 0: it does not. */
export const CAPTURED_MAP = 'captured';

/**
 * The counters by their place in the map: `enum steer_verdict` of native-shim/bpf/steer.h, where each is explained.
 * Packets each. Those in {@link OUTCOMES} add up to the packets seen; the others tell how it came about, and overlap.
 */
export const VERDICTS = [
  'local',
  'remote',
  'new',
  'marked',
  'left_alone',
  'expired',
  'fragment_hit',
  'fragment_miss',
  'icmp_error',
  'vlan',
  'pppoe',
  'unsupported',
  'malformed',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/** Of these every packet has exactly one. */
export const OUTCOMES = VERDICTS.slice(0, 6) as readonly Verdict[];

/** Names the counters that were read from the map, in the map's order. */
export function verdictsOf(counters: readonly (number | bigint)[]): Record<Verdict, number> {
  return Object.fromEntries(VERDICTS.map((name, i) => [name, Number(counters[i] ?? 0)])) as Record<Verdict, number>;
}

/**
 * Returns a copy of a compiled classifier with `config` written into it, ready for `tc filter ... bpf obj`.
 *
 * @throws HeadgateError HG_NO_SHIM where the object is not the classifier that this code knows.
 * @throws RangeError for a number out of its range.
 */
export function patchClassifier(object: Uint8Array, config: ClassifierConfig): Uint8Array {
  checkConfig(config);
  const at = findSymbol(object, 'config', CLASSIFIER_CONFIG.size);
  const patched = Uint8Array.from(object);
  const view = new DataView(patched.buffer, at, CLASSIFIER_CONFIG.size);
  const little = isLittleEndian(object);
  const set = (offset: number, value: number) => view.setUint32(offset, value, little);
  set(CLASSIFIER_CONFIG.major, config.major);
  set(CLASSIFIER_CONFIG.mark_mask, config.markMask);
  set(CLASSIFIER_CONFIG.mark_shift, config.markShift);
  set(CLASSIFIER_CONFIG.highest_class, config.highestClass ?? 0xffff);
  set(CLASSIFIER_CONFIG.local_class, config.localClass);
  set(CLASSIFIER_CONFIG.remote_class, config.remoteClass);
  set(CLASSIFIER_CONFIG.new_class, config.newClass);
  set(CLASSIFIER_CONFIG.reserved, 0);
  const picked = (config.picked ?? []).reduce((bits, number) => bits | (1n << BigInt(number)), 0n);
  view.setBigUint64(CLASSIFIER_CONFIG.picked, BigInt.asUintN(64, picked), little);
  view.setBigUint64(CLASSIFIER_CONFIG.picked + 8, picked >> 64n, little);
  return patched;
}

function checkConfig(config: ClassifierConfig): void {
  const check = (name: keyof ClassifierConfig, least: number, most: number) => {
    const value = config[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
      throw new RangeError(`classifier: ${name} is ${value}, not within ${least}..${most}`);
  };
  check('major', 0x10000, 0xffff0000);
  // But that of STEER_SECOND_SET.
  if ((config.major & 0x7fff) !== 0) throw new RangeError('classifier: major has bits of a minor');
  check('markMask', 0, 0xffffffff);
  check('markShift', 0, 31);
  for (const name of ['localClass', 'remoteClass', 'newClass'] as const) check(name, 1, 0xffff);
  for (const number of config.picked ?? [])
    if (!Number.isInteger(number) || number < 1 || number >= 128)
      throw new RangeError(`classifier: picked is ${number}, not within 1..127`);
  if (config.highestClass !== undefined) check('highestClass', 0, 0xffff);
}

// ELF-64, as in elf(5) and linux/elf.h.
const EI_CLASS = 4;
const EI_DATA = 5;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ELFDATA2MSB = 2;
const EHDR_SIZE = 64;
const E_MACHINE = 18;
const E_SHOFF = 40;
const E_SHENTSIZE = 58;
const E_SHNUM = 60;
const EM_BPF = 247;
const SHDR_SIZE = 64;
const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_STRTAB = 3;
const SYM_SIZE = 24;

const isLittleEndian = (elf: Uint8Array): boolean => elf[EI_DATA] === ELFDATA2LSB;

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/** Where in the file the contents of a data symbol lie, which must have that size. */
function findSymbol(elf: Uint8Array, name: string, size: number): number {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const sections = listSections(elf, view);
  const little = isLittleEndian(elf);
  for (const table of sections.filter(({ type }) => type === SHT_SYMTAB)) {
    const names = sections[table.link];
    if (names?.type !== SHT_STRTAB) throw broken('its symbols have no names');
    for (let at = table.offset; at + SYM_SIZE <= table.offset + table.size; at += SYM_SIZE) {
      if (!hasName(elf, names, view.getUint32(at, little), name)) continue;
      const section = sections[view.getUint16(at + 6, little)];
      const value = number64(view, at + 8, little);
      const found = number64(view, at + 16, little);
      if (found !== size) throw broken(`its ${name} has ${found} bytes where ${size} were expected`);
      if (section?.type !== SHT_PROGBITS || value + size > section.size) throw broken(`its ${name} lies nowhere`);
      return section.offset + value;
    }
  }
  throw broken(`it has no ${name}`);
}

function listSections(elf: Uint8Array, view: DataView): Section[] {
  const magic = [0x7f, 0x45, 0x4c, 0x46];
  if (elf.length < EHDR_SIZE || !magic.every((byte, i) => elf[i] === byte)) throw broken('it is no ELF file');
  const data = elf[EI_DATA];
  if (elf[EI_CLASS] !== ELFCLASS64 || (data !== ELFDATA2LSB && data !== ELFDATA2MSB))
    throw broken('it is not of 64 bits');
  const little = isLittleEndian(elf);
  if (view.getUint16(E_MACHINE, little) !== EM_BPF) throw broken('it is not made for BPF');
  const start = number64(view, E_SHOFF, little);
  const count = view.getUint16(E_SHNUM, little);
  if (view.getUint16(E_SHENTSIZE, little) !== SHDR_SIZE || start + count * SHDR_SIZE > elf.length)
    throw broken('it is cut short');
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * SHDR_SIZE;
    const section = {
      type: view.getUint32(at + 4, little),
      offset: number64(view, at + 24, little),
      size: number64(view, at + 32, little),
      link: view.getUint32(at + 40, little),
    };
    const inFile = [SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB].includes(section.type);
    if (inFile && section.offset + section.size > elf.length) throw broken('it is cut short');
    return section;
  });
}

/** True when the NUL-terminated string at `offset` of the string table is `name`. */
function hasName(elf: Uint8Array, table: Section, offset: number, name: string): boolean {
  if (offset + name.length >= table.size) return false;
  const at = table.offset + offset;
  for (let i = 0; i < name.length; i++) if (elf[at + i] !== name.charCodeAt(i)) return false;
  return elf[at + name.length] === 0;
}

/** A 64-bit field as a number: exact below 2^53, and any offset above is out of the file anyway. */
const number64 = (view: DataView, at: number, little: boolean): number => Number(view.getBigUint64(at, little));

const broken = (problem: string): HeadgateError =>
  new HeadgateError('HG_NO_SHIM', { problem: `the classifier ${CLASSIFIER_OBJECT} is not usable: ${problem}` });
