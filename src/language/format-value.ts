import type { Rate } from '../model/index.ts';

type Units = readonly (readonly [unit: string, size: number])[];

const SIZES: Units = [
  ['TB', 1e12],
  ['TiB', 2 ** 40],
  ['GB', 1e9],
  ['GiB', 2 ** 30],
  ['MB', 1e6],
  ['MiB', 2 ** 20],
  ['kB', 1e3],
  ['KiB', 2 ** 10],
  ['B', 1],
];
const RATES: Units = [
  ['tbit', 1e12],
  ['gbit', 1e9],
  ['mbit', 1e6],
  ['kbit', 1e3],
  ['bit', 1],
];
const DURATIONS: Units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** With the largest unit that makes a whole number of it, so that reading it again gives the same value. */
function format(value: number, units: Units): string {
  const [unit, size] = units.find(([, one]) => value !== 0 && value % one === 0) ?? units.at(-1)!;
  return `${formatNumber(value / size)}${unit}`;
}

/** Bytes exactly: `50MB`, `1536B`. */
export const formatSize = (bytes: number): string => format(bytes, SIZES);
/** A rate exactly, for the language: `1mbit`, `1500kbit`. */
export const formatExactRate = (rate: Rate): string => format(rate, RATES);
/** Milliseconds exactly: `30s`, `90s`, `1500ms`. */
export const formatDuration = (ms: number): string => format(ms, DURATIONS);

/** Digits alone, without exponent, however small or large. */
export function formatNumber(number: number): string {
  const [digits = '', exponent] = String(number).split('e');
  if (exponent === undefined) return digits;
  if (number >= 1) return BigInt(number).toString();
  return `0.${'0'.repeat(-Number(exponent) - 1)}${digits.replace('.', '')}`;
}
