import { linesOf } from '../kernel/files.ts';
import { HeadgateError } from '../model/index.ts';
import { requestEvents } from '../service/ask.ts';

/** The event stream of the running headgate, until that is stopped, or Ctrl-C. */
export interface EventLines {
  /**
   * Gives each line to `take`, one after the other. True: we have ended it, and the service goes on.
   *
   * @throws HeadgateError HG_NOT_RUNNING where the stream broke off, as where `take` does not understand a line: it was cut
   */
  each(take: (line: string) => unknown): Promise<boolean>;
  /** Ends it as Ctrl-C does. */
  stop(): void;
  /** Is aborted by either: what `take` waits for may end by it, too. */
  readonly stopped: AbortSignal;
}

/** @throws HeadgateError as {@link requestEvents} does */
export async function openEvents(parameters: URLSearchParams): Promise<EventLines> {
  const response = await requestEvents(parameters);
  const asked = new AbortController();
  const stop = () => {
    response.destroy();
    asked.abort();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const each: EventLines['each'] = async (take) => {
    try {
      for await (const line of linesOf(response.setEncoding('utf8'))) await take(line);
    } catch (error) {
      if (!asked.signal.aborted) throw new HeadgateError('HG_NOT_RUNNING', {}, { cause: error });
    }
    // A stream that broke off can also just end: complete says which.
    if (!asked.signal.aborted && !response.complete) throw new HeadgateError('HG_NOT_RUNNING');
    return asked.signal.aborted;
  };
  return { each, stop, stopped: asked.signal };
}
