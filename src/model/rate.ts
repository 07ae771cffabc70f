/** Bits per second. Rates in tc's sense: 1 kbit is 1000 bits (tc(8), PARAMETERS). */
export type Rate = number;

const UNITS: Record<string, number> = {
  bit: 1,
  kbit: 1e3,
  mbit: 1e6,
  gbit: 1e9,
  tbit: 1e12,
  bps: 8,
  kbps: 8e3,
  mbps: 8e6,
  gbps: 8e9,
  tbps: 8e12,
};

/** The units of a rate as tc spells them: `mbit` is 10^6 bits, `mbps` 10^6 bytes per second. */
export const RATE_UNITS: readonly string[] = Object.keys(UNITS);

/** Reads a rate such as `100mbit`, `2.5gbit` or `12mbps`; undefined where the text is none, or is not above zero. */
export function parseRate(text: string): Rate | undefined {
  const match = /^(\d+(?:\.\d+)?)([a-z]+)$/i.exec(text);
  const unit = match && UNITS[match[2]!.toLowerCase()];
  if (!match || !unit) return undefined;
  const rate = Math.round(Number(match[1]) * unit);
  return rate > 0 && Number.isSafeInteger(rate) ? rate : undefined;
}

/** Writes a rate with the largest unit that keeps it exact to three digits, for people: `18mbit`, `2.5gbit`. */
export function formatRate(rate: Rate): string {
  for (const unit of ['tbit', 'gbit', 'mbit', 'kbit']) {
    const size = UNITS[unit]!;
    if (rate >= size) return `${Number((rate / size).toPrecision(3))}${unit}`;
  }
  return `${Math.round(rate)}bit`;
}
