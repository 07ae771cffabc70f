import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Family, formatMetrics, METRIC_FORMATS } from '../monitor/index.ts';

/** Answers a scrape: OpenMetrics where `Accept` has it, else Prometheus' own text. */
export function serveMetrics(
  families: readonly Family[],
  { headers }: IncomingMessage,
  response: ServerResponse,
): void {
  const format = headers.accept?.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus';
  response.writeHead(200, { 'content-type': METRIC_FORMATS[format] }).end(formatMetrics(families, format));
}
