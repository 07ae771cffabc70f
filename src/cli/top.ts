import { stdin, stdout } from 'node:process';
import type { Command } from 'commander';
import { HeadgateError } from '../model/index.ts';
import { drawFrame, figuresOf, SORTS, type Style, Terminal, type View } from '../screen/index.ts';
import { requestFlows, requestStatus } from '../service/ask.ts';
import type { Status } from '../service/index.ts';
import { wantsColor } from './output.ts';

const INTERVAL_MS = 1000;
/** Flows that are asked for: more than one scrolls through. */
const MOST_FLOWS = 200;

export function addTopCommand(program: Command): void {
  program
    .command('top')
    .description('watch queues and flows live: rates against shares and ceilings, drops, who opened what')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate top

Keys: q quit, p pause, s sort, / flows that meet a condition, Esc all, up and down, ? help. Needs a terminal, of any size; in a pipe: headgate status --json.
For root, and members of the group headgate (docs/systemd).
Exit status: 0 it was left; 2 there is no terminal; 3 not root, nor in the group; 6 headgate is not running, or has ended`,
    )
    .action(async () => {
      if (!stdin.isTTY || !stdout.isTTY)
        throw new HeadgateError('HG_USAGE', {
          command: 'top',
          problem: 'top needs a terminal; in a pipe: headgate status --json',
        });
      await watch(await requestStatus());
    });
}

/** Resolves when the person leaves. @throws what ended it, when the terminal is given back */
function watch(first: Status): Promise<void> {
  const terminal = new Terminal(stdin, stdout);
  const style: Omit<Style, 'columns' | 'rows'> = {
    color: wantsColor(stdout),
    unicode: /utf-?8/i.test(process.env.LC_ALL || process.env.LC_CTYPE || process.env.LANG || ''),
  };
  let look = { status: first, at: performance.now() };
  let view: View = {
    ...{ figures: figuresOf(look), list: undefined, sort: SORTS[0], filter: '', typing: false, paused: false },
    ...{ help: false, scroll: 0, clock: clock() },
  };
  const draw = () => terminal.draw(drawFrame(view, { ...style, columns: terminal.columns, rows: terminal.rows }));
  const change = (more: Partial<View>) => {
    view = { ...view, ...more };
    draw();
  };

  return new Promise((resolve, reject) => {
    let ended = false;
    // Who has left waits for no answer.
    const asking = new AbortController();
    const leave = () => {
      ended = true;
      asking.abort();
      for (const timer of timers) clearTimeout(timer);
      terminal.close();
    };
    const end = () => {
      leave();
      resolve();
    };
    const timers = new Set<NodeJS.Timeout>();
    const again = (look: () => Promise<void>, ms: number) => {
      const timer = setTimeout(async () => {
        timers.delete(timer);
        try {
          if (!view.paused) await look();
          if (!ended) again(look, INTERVAL_MS);
        } catch (error) {
          if (ended) return;
          leave();
          reject(error);
        }
      }, ms);
      timers.add(timer);
    };
    const lookAtQueues = async () => {
      const next = { status: await requestStatus(asking.signal), at: performance.now() };
      if (!view.paused && !ended) change({ figures: figuresOf(next, look), clock: clock() });
      look = next;
    };
    const lookAtFlows = async () => {
      if (view.typing) return;
      const { sort, filter } = view;
      const where = filter === '' ? {} : { where: filter };
      const parameters = new URLSearchParams({ sort, rates: '1', limit: String(MOST_FLOWS), ...where });
      const more = await requestFlows(parameters, asking.signal).then(
        (list): Partial<View> => ({ list, problem: undefined }),
        (error): Partial<View> => {
          // What was typed is no condition; the other questions tell of all else that may be wrong.
          if (!(error instanceof HeadgateError) || error.code !== 'HG_USAGE') throw error;
          // It is one line: what was typed comes back with `/`.
          return { problem: error.message.replace(`--where ${filter}: `, '') };
        },
      );
      if (!view.paused && !ended && view.filter === filter && view.sort === sort) change(more);
    };
    const press = (name: string, text: string | undefined) => {
      if (view.help) return change({ help: false });
      if (view.typing) return change(typed(view, name, text));
      if (name === 'q') return end();
      change(pressed(view, name, text, terminal.rows));
    };
    terminal.open(press, end, draw);
    draw();
    again(lookAtQueues, INTERVAL_MS);
    again(lookAtFlows, 0);
  });
}

/** What a key does to what is shown. */
function pressed(view: View, name: string, text: string | undefined, rows: number): Partial<View> {
  const scrolled = (by: number) => ({
    scroll: Math.max(0, Math.min(view.scroll + by, (view.list?.flows.length ?? 0) - 1)),
  });
  if (text === '?') return { help: true };
  if (text === '/') return { typing: true, problem: undefined };
  switch (name) {
    case 'p':
    case 'space':
      return { paused: !view.paused };
    case 's':
      return { sort: SORTS[(SORTS.indexOf(view.sort) + 1) % SORTS.length]!, scroll: 0 };
    case 'up':
      return scrolled(-1);
    case 'down':
      return scrolled(1);
    case 'pageup':
      return scrolled(-Math.trunc(rows / 2));
    case 'pagedown':
      return scrolled(Math.trunc(rows / 2));
    case 'home':
      return { scroll: 0 };
    case 'escape':
      return { filter: '', problem: undefined, scroll: 0 };
    default:
      return {};
  }
}

/** What a key does while a condition is typed. */
function typed({ filter }: View, name: string, text: string | undefined): Partial<View> {
  if (name === 'return' || name === 'enter') return { typing: false, scroll: 0 };
  if (name === 'escape') return { typing: false, filter: '' };
  if (name === 'backspace') return { filter: filter.slice(0, -1) };
  return text !== undefined && /^[ -~]+$/.test(text) ? { filter: filter + text } : {};
}

const clock = (): string => new Date().toTimeString().slice(0, 8);
