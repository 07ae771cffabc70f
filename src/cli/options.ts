import { join } from 'node:path';
import { readLiteral } from '../language/index.ts';
import { formatRate, HeadgateError, parseRate, type Rate } from '../model/index.ts';
import { MOST_CONFIRM_MS } from '../service/ask.ts';
import { note } from './output.ts';

/** The policy that runs when no file is named. */
export const DEFAULT_POLICY = join(import.meta.dirname, '../../rules/favour-local.gate');

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
export const confirmOption = (command: string, text: string | undefined): number | undefined =>
  durationOption(command, '--confirm', text, 1, 'of at most a day, such as 60s or 5m');

/** Less is no time for a machine that is busy. */
const LEAST_DEADLINE_MS = 1000;

/** The same of `--deadline`. */
export const deadlineOption = (command: string, text: string | undefined): number | undefined =>
  durationOption(command, '--deadline', text, LEAST_DEADLINE_MS, 'of 1s to a day, such as 60s');

function durationOption(
  command: string,
  option: string,
  text: string | undefined,
  least: number,
  which: string,
): number | undefined {
  if (text === undefined) return undefined;
  const literal = readLiteral(text);
  if (!('type' in literal) || literal.type !== 'duration' || literal.ms < least || literal.ms > MOST_CONFIRM_MS)
    throw new HeadgateError('HG_USAGE', { command, problem: `${option} ${text}: write a duration ${which}` });
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
