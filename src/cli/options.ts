import { HeadgateError, parseRate, type Rate } from '../model/index.ts';

/** The rate that an option of a command says. @throws HeadgateError HG_USAGE */
export function rateOption(command: string, option: string, text: string | undefined): Rate | undefined {
  if (text === undefined) return undefined;
  const rate = parseRate(text);
  if (rate === undefined)
    throw new HeadgateError('HG_USAGE', {
      command,
      problem: `${option} ${text}: that is no rate. Write a number and a unit, such as 90mbit`,
    });
  return rate;
}
