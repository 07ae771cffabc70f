import { readLiteral } from '../language/index.ts';
import { formatRate, HeadgateError, parseRate, type Rate } from '../model/index.ts';
import { MOST_CONFIRM_MS } from '../service/ask.ts';
import { note } from './output.ts';

/** The rate that an option of a command says. @throws HeadgateError HG_USAGE */
export function rateOption(command: string, option: string, text: string | undefined): Rate | undefined {
  if (text === undefined) return undefined;
  const rate = parseRate(text);
  if (rate === undefined)
    throw new HeadgateError('HG_USAGE', {
      command,
      problem: `${option} ${text}: that is no rate. Write a number and a unit, such as 90mbit`,
    });
  noteBytes(option, text, rate);
  return rate;
}

/** Ms that `--confirm` gives; undefined where it was not given. @throws HeadgateError HG_USAGE */
export function confirmOption(command: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const literal = readLiteral(text);
  if (!('type' in literal) || literal.type !== 'duration' || literal.ms < 1 || literal.ms > MOST_CONFIRM_MS)
    throw new HeadgateError('HG_USAGE', {
      command,
      problem: `--confirm ${text}: write a duration of at most a day, such as 60s or 5m`,
    });
  return literal.ms;
}

/** What to type, and by when, or a change is taken back. */
export const confirmNotice = (until: string): string =>
  `type "headgate confirm" by ${new Date(until).toTimeString().slice(0, 8)}`;

/** tc reads `mbps` as megabytes; most people mean megabits. */
export function noteBytes(what: string, text: string, rate: Rate): void {
  if (/bps$/i.test(text))
    note(
      `headgate: warning: ${what} ${text} is in bytes per second: ${formatRate(rate)}; for bits per second write bit`,
    );
}
