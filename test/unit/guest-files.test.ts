import { expect, it } from 'vitest';
import { GUEST_FILES, KERNELS } from '../vm/kernels.ts';

it('runs every guest file on a kernel at least, and no file twice on one', () => {
  expect(GUEST_FILES.length).toBeGreaterThan(10);
  for (const { files } of KERNELS) expect([...new Set(files)]).toEqual(files);
  expect([...new Set(KERNELS.flatMap(({ files }) => files))].sort()).toEqual([...GUEST_FILES].sort());
});
