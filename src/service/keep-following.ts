import { type Observable, retry, throwError, timer } from 'rxjs';
import type { SourceOptions } from '../kernel/sources.ts';
import { REOPEN_MS } from '../pipeline/index.ts';

/**
 * Follows a source of the kernel for ever: when its socket breaks, it is opened again. One that cannot be opened at the
 * very start errors.
 *
 * @param broke hears why, each time
 * @param opened hears each time that it is open: what happened in between is not known
 */
export function keepFollowing<T>(
  follow: (options: SourceOptions) => Observable<T>,
  broke: (error: unknown) => void,
  opened: () => void,
): Observable<T> {
  let started = false;
  const options = {
    opened: () => {
      started = true;
      opened();
    },
  };
  return follow(options).pipe(
    retry({
      delay: (error) => {
        if (!started) return throwError(() => error);
        broke(error);
        return timer(REOPEN_MS);
      },
    }),
  );
}
