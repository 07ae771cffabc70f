import type { Command } from 'commander';
import { requestMetrics } from '../service/ask.ts';

export function addMetricsCommand(program: Command): void {
  program
    .command('metrics')
    .description('print the metrics of the running headgate, as Prometheus scrapes them')
    .option('--openmetrics', 'in the format of OpenMetrics')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate metrics | grep queue_drops
  sudo sh -c 'cd /var/lib/prometheus/node-exporter && headgate metrics > .headgate && mv .headgate headgate.prom'

What each is: docs/monitoring.md. For root, and members of the group headgate (docs/systemd).
Exit status: 0 printed; 3 neither; 6 headgate is not running`,
    )
    .action(async ({ openmetrics }: { openmetrics?: boolean }) => {
      process.stdout.write(await requestMetrics(openmetrics ? 'openmetrics' : 'prometheus'));
    });
}
