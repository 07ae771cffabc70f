import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NO_ROW, RowLists } from '../../src/pipeline/row-lists.ts';

it('lists of rows are what arrays of rows would be', () => {
  const act = fc.record({ list: fc.nat(2), row: fc.nat(5000) });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
      const lists = new RowLists();
      const first = [NO_ROW, NO_ROW, NO_ROW];
      const model: number[][] = [[], [], []];
      for (const { list, row } of acts) {
        expect(lists.has(row)).toBe(model.some((rows) => rows.includes(row)));
        const found = model.findIndex((rows) => rows.includes(row));
        if (found < 0) {
          first[list] = lists.add(first[list]!, row);
          model[list]!.unshift(row);
        } else {
          first[found] = lists.del(first[found]!, row);
          model[found] = model[found]!.filter((one) => one !== row);
        }
      }
      const read = first.map((start) => {
        const rows: number[] = [];
        for (let row = start; row !== NO_ROW; row = lists.next(row)) rows.push(row);
        return rows;
      });
      expect(read).toEqual(model);
    }),
  );
});
