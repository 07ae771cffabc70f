import { lastValueFrom, type Observable, tap } from 'rxjs';
import type { MarkRequest } from '../kernel/index.ts';
import { classOfMark, type MarkField } from '../model/index.ts';
import type { FlowNews } from './classifier.ts';

/** Takes our bits off every conntrack entry that has any, so that no trace of us is left. */
export async function clearMarks(
  field: MarkField,
  dump: Observable<Iterable<FlowNews>>,
  write: (requests: readonly MarkRequest[]) => unknown,
): Promise<void> {
  const clearing = dump.pipe(
    tap((batch) => {
      const requests: MarkRequest[] = [];
      for (const record of batch)
        if (record.kind === 'dumped' && classOfMark(field, record.mark) !== 0)
          requests.push({ key: record.key, mark: 0, mask: field.mask });
      write(requests);
    }),
  );
  await lastValueFrom(clearing, { defaultValue: undefined });
}
