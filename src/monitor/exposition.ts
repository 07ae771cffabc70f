/** A metric with its samples, as Prometheus and OpenMetrics know them. */
export interface Family {
  /** Without `_total`, which a counter's samples get; the unit is its end. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly value: number;
  /** Of a histogram: `_bucket`, `_sum`, `_count`. */
  readonly suffix?: string | undefined;
}

/** What a scraper may ask for, and the content type of each (Prometheus: exposition formats; OpenMetrics 1.0.0). */
export const METRIC_FORMATS = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const;
export type MetricFormat = keyof typeof METRIC_FORMATS;

/** OpenMetrics has counters by their name without `_total`, units, and an end; the older format has none of these. */
export function formatMetrics(families: readonly Family[], format: MetricFormat): string {
  const open = format === 'openmetrics';
  const lines = families
    .filter(({ samples }) => samples.length > 0)
    .flatMap(({ name, type, help, samples }) => {
      const end = type === 'counter' ? '_total' : '';
      const known = open ? name : `${name}${end}`;
      const unit = open && /_(bytes|seconds|bytes_per_second)$/.exec(name)?.[1];
      return [
        `# HELP ${known} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`,
        `# TYPE ${known} ${type}`,
        ...(unit ? [`# UNIT ${known} ${unit}`] : []),
        ...samples.map(({ labels, value, suffix = end }) => `${name}${suffix}${formatLabels(labels)} ${value}`),
      ];
    });
  return `${[...lines, ...(open ? ['# EOF'] : [])].join('\n')}\n`;
}

function formatLabels(labels: Sample['labels'] = {}): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`,
  );
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}

/** Counts values by upper bounds, each bucket with those below it. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** @param bounds upwards, in the unit of the values */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  /** The same value, `times` times. */
  add(value: number, times = 1): void {
    this.#sum += value * times;
    this.#count += times;
    for (let i = this.#bounds.length - 1; i >= 0 && value <= this.#bounds[i]!; i--) this.#counts[i]! += times;
  }

  get samples(): Sample[] {
    const bucket = (le: string, value: number) => ({ suffix: '_bucket', labels: { le }, value });
    return [
      ...this.#bounds.map((bound, i) => bucket(Number.isInteger(bound) ? `${bound}.0` : `${bound}`, this.#counts[i]!)),
      bucket('+Inf', this.#count),
      { suffix: '_sum', value: this.#sum },
      { suffix: '_count', value: this.#count },
    ];
  }
}
