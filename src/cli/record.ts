import type { Command } from 'commander';
import { openLines } from '../kernel/index.ts';
import { formatSizeInShort, HeadgateError } from '../model/index.ts';
import type { MonitorItem } from '../monitor/index.ts';
import { RECORDING_START, Recorder } from '../replay/recorder.ts';
import { openEvents } from './event-lines.ts';
import { note } from './output.ts';

/** Lines that come within this time are written together, ms. */
const WRITE_MS = 200;

export function addRecordCommand(program: Command): void {
  program
    .command('record')
    .description('write down every flow of the running headgate, for headgate replay')
    .argument('<file>', 'is added to; made where it is not there')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate record today.hgr
  headgate replay today.hgr --policy new.gate

Some 100 bytes a flow with IPv4, 130 with IPv6: two million are 200 to 250 MB. What is in the file stays whole when this is
killed, or the disk is full; as Ctrl-C ends it, it adds what flows that go on have carried. Flows are followed while it runs.
For root, and members of the group headgate (docs/systemd).
Exit status: 0 headgate was stopped, or Ctrl-C; 2 the file cannot be written, is no recording, or another headgate record writes to it; 3 neither; 6 it is not running, or was killed`,
    )
    .action(async (file: string) => {
      if (file === '-')
        throw new HeadgateError('HG_USAGE', {
          command: 'record',
          problem: 'it writes to a file; ./- is one of that name',
        });
      const { each, stop } = await openEvents(new URLSearchParams({ known: 'counted' }));
      const out = await openLines(file, RECORDING_START).catch((error: Error) => {
        stop();
        throw error;
      });
      const recorder = new Recorder();
      let waiting: string[] = [];
      let written = 0;
      let problem: Error | undefined;
      let writing = Promise.resolve();
      const add = async (lines: readonly string[], upTo: number) => {
        // Lines count flows by those before them: behind a hole none may follow.
        if (problem) return;
        try {
          await out.add(lines);
          written = upTo;
        } catch (error) {
          problem = error as Error;
          stop();
        }
      };
      // One after the other: a slow disk is told by gaps of the stream, and by nothing that is kept here.
      const write = () => {
        const [lines, upTo] = [waiting, recorder.flows];
        waiting = [];
        writing = writing.then(() => add(lines, upTo));
        return writing;
      };
      const timer = setInterval(() => void write(), WRITE_MS);
      const keep = async (lines: readonly string[]) => {
        waiting.push(...lines);
        if (waiting.length > MOST_WAITING) await write();
      };
      let last: MonitorItem | undefined;
      let session = '';
      const take = (line: string) => {
        last = JSON.parse(line) as MonitorItem;
        if (last.kind === 'stream') ({ session } = last);
        return keep(recorder.linesOf(last));
      };
      /** What has happened since, and what flows that go on have carried. */
      const takeRest = async () => {
        if (!last) return;
        const since = `${session}-${last.seq}`;
        const rest = await openEvents(new URLSearchParams({ since, follow: '0', known: 'counted' }));
        await rest.each((line) => keep(recorder.lastLinesOf(JSON.parse(line) as MonitorItem)));
      };
      const broke = await each(take)
        .then((stopped) => (stopped && !problem ? takeRest().catch(noteRest) : undefined))
        .then(
          () => undefined,
          (error: Error) => error,
        );
      clearInterval(timer);
      await write();
      await out.close();
      const { flows } = recorder;
      const lost = flows > written ? `, and some of ${flows - written} more` : '';
      note(`${written} flows written${lost}; ${file} has ${formatSizeInShort(out.size)}`);
      // Where the file has not all that came, that is what to say.
      const reason = problem ?? broke;
      if (reason) throw reason;
    });
}

const noteRest = (error: Error): void =>
  note(`headgate: warning: what flows that go on have carried is not in it: ${error.message}`);

/** Lines that wait to be written; with more, nothing is read meanwhile. */
const MOST_WAITING = 10_000;
