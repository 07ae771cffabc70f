import { Observable, type Subscriber } from 'rxjs';
import type { AskedFlow, FactAnswer, FactSource } from '../pipeline/index.ts';

/** A source as `headgate status` shows it. */
export interface KnownSource extends FactSource {
  /** The word of the language that it is there for. */
  readonly word: string;
  /** What it has done since it was opened, and holds. */
  readonly counts: () => Readonly<Record<string, number>>;
  /** What it cannot see, for a person. */
  readonly blind?: string | undefined;
}

/** What there is of a source while it is open. */
export interface OpenSource {
  ask(flow: AskedFlow): void;
  end(flow: AskedFlow): void;
  readonly counts: Readonly<Record<string, number>>;
}

/** A source that is made anew each time it is opened, and gone when it is closed. What it holds open it adds to the subscriber. */
export function whileOpen(
  about: Omit<KnownSource, 'answers' | 'ask' | 'end' | 'counts'>,
  open: (subscriber: Subscriber<FactAnswer>) => OpenSource,
): KnownSource {
  let opened: OpenSource | undefined;
  return {
    ...about,
    answers: new Observable<FactAnswer>((subscriber) => {
      const own = open(subscriber);
      opened = own;
      subscriber.add(() => {
        if (opened === own) opened = undefined;
      });
    }),
    ask: (flow) => opened?.ask(flow),
    end: (flow) => opened?.end(flow),
    counts: () => opened?.counts ?? {},
  };
}
