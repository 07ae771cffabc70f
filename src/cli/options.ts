import { formatRate, HeadgateError, parseRate, type Rate } from '../model/index.ts';
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

/** tc reads `mbps` as megabytes; most people mean megabits. */
export function noteBytes(what: string, text: string, rate: Rate): void {
  if (/bps$/i.test(text))
    note(
      `headgate: warning: ${what} ${text} is in bytes per second: ${formatRate(rate)}; for bits per second write bit`,
    );
}
