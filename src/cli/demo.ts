import { type CpuInfo, constants, cpus } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { ensureRoot } from '../kernel/index.ts';
import { ACCESS_LINK, delLeftovers, type Progress, runExperiment } from '../lab/index.ts';
import { describeStep, figures, scene, verdictSentence } from './demo-report.ts';
import { note, print, printJson, wantsColor } from './output.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('show the main job: a small internet in network namespaces, measured without and with Headgate')
    .option('--seconds <n>', 'how long each of the nine steps measures, 1 to 60', seconds, 5)
    .option('--json', 'print one JSON object: {kernel, datapath, link, phases, verdict}')
    .addHelpText(
      'after',
      `
Example:
  sudo headgate demo --seconds 3

Exit status: 0 passed (your download at least 70 % of the link, the ping's median at most a third), 1 not passed,
3 root or a tool is missing, 5 it could not run. Nothing is left behind, also after Ctrl-C.`,
    )
    .action(async (options: { seconds: number; json?: boolean }) => {
      ensureRoot('building network namespaces');
      await delLeftovers();
      const cpusBefore = cpus();
      const interrupted = new AbortController();
      const forget = abortOnSignals(interrupted);
      const watch = new Watch(options.json ? process.stderr : process.stdout);
      if (!options.json) print(scene({ link: ACCESS_LINK }, options.seconds));
      try {
        const result = await runExperiment({
          seconds: options.seconds,
          signal: interrupted.signal,
          onProgress: (progress) => watch.show(progress),
        });
        watch.end();
        if (options.json) printJson(result);
        else print(`\n${figures(result, wantsColor(process.stdout))}\n\n${verdictSentence(result)}`);
        if (!result.verdict.pass) {
          process.exitCode = 1;
          const busy = Math.round(100 * busyPart(cpus(), cpusBefore));
          if (busy > BUSY_PERCENT)
            note(
              `The machine was ${busy} % busy meanwhile: this may tell of its processors, not of the queues. Try again when it is idle.`,
            );
        }
      } catch (error) {
        watch.end();
        if (!interrupted.signal.aborted) throw error;
        note('headgate: interrupted; everything was taken down.');
        process.exitCode = interrupted.signal.reason;
      } finally {
        forget();
      }
    });
}

/** Busier than that, the figures tell of the processors as much as of the queues. */
const BUSY_PERCENT = 80;

/** Part of the processors' time, 0 to 1, that was not idle between two readings. */
function busyPart(now: readonly CpuInfo[], before: readonly CpuInfo[]): number {
  const total = (list: readonly CpuInfo[], idle: boolean) =>
    list.reduce((sum, { times }) => sum + (idle ? times.idle : Object.values(times).reduce((a, b) => a + b, 0)), 0);
  const all = total(now, false) - total(before, false);
  return all > 0 ? 1 - (total(now, true) - total(before, true)) / all : 0;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= 60)) throw new InvalidArgumentError('1 to 60.');
  return value;
}

/** Aborts with the exit status that the signal asks for; a second signal changes nothing, for the way down is short. */
function abortOnSignals(controller: AbortController): () => void {
  const listeners = SIGNALS.map((name) => [name, () => controller.abort(128 + constants.signals[name])] as const);
  for (const [name, listener] of listeners) process.on(name, listener);
  // A reader that went away would otherwise end us on the spot, with the lab still standing.
  const gone = () => controller.abort(0);
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error').on('error', gone);
  return () => {
    for (const [name, listener] of listeners) process.off(name, listener);
  };
}

/** Shows what is going on: a line that counts the seconds on a terminal, elsewhere a line for each result. */
class Watch {
  private readonly stream: NodeJS.WriteStream;
  private readonly started = performance.now();
  private ticker: NodeJS.Timeout | undefined;

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream;
  }

  show(progress: Progress): void {
    this.end();
    if (progress.result !== undefined) this.stream.write(`${this.line(progress)} ${progress.result}\n`);
    else if (this.stream.isTTY) {
      const draw = () => this.stream.write(`\r\x1b[K${this.line(progress)} ...`);
      draw();
      this.ticker = setInterval(draw, 1000);
    }
  }

  /** Stops counting and clears the line. */
  end(): void {
    clearInterval(this.ticker);
    if (this.ticker) this.stream.write('\r\x1b[K');
    this.ticker = undefined;
  }

  private line(progress: Progress): string {
    const elapsed = Math.round((performance.now() - this.started) / 1000);
    return `${String(elapsed).padStart(3)} s  ${describeStep(progress)}`;
  }
}
