import { type Field, type Fields, isField, type Layout, LITTLE_ENDIAN, SIZE_OF } from '../../src/kernel/shim/layout.ts';

/** Every field of a layout with its C path, such as `original.src_port`, in the order of the layout. */
export function fieldsOf(fields: Fields, prefix = ''): [path: string, field: Field][] {
  return Object.entries(fields).flatMap(([name, member]) =>
    isField(member) ? [[prefix + name, member] as [string, Field]] : fieldsOf(member, `${prefix}${name}.`),
  );
}

/** Values by C path; numbers for plain fields, bytes for arrays. */
export type Values = Readonly<Record<string, number | bigint | Uint8Array>>;

/** Writes a record by its layout alone: the decoders' other half. */
export function encode(layout: Layout, values: Values): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  const fields = new Map(fieldsOf(layout.fields));
  for (const [path, value] of Object.entries(values)) {
    const field = fields.get(path);
    if (!field) throw new Error(`${layout.name} has no ${path}`);
    if (value instanceof Uint8Array) bytes.set(value.subarray(0, field.length), field.offset);
    else if (SIZE_OF[field.type] === 8) view.setBigUint64(field.offset, BigInt(value), LITTLE_ENDIAN);
    else if (SIZE_OF[field.type] === 4) view.setUint32(field.offset, Number(value), LITTLE_ENDIAN);
    else if (SIZE_OF[field.type] === 2) view.setUint16(field.offset, Number(value), LITTLE_ENDIAN);
    else view.setUint8(field.offset, Number(value));
  }
  return bytes;
}

/** Bytes as lines of sixteen with their offset, so that a difference can be read. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const hex = Array.from(bytes.subarray(at, at + 16), (b) => b.toString(16).padStart(2, '0')).join(' ');
    lines.push(`${String(at).padStart(3, '0')}: ${hex}`);
  }
  return lines.join('\n');
}

/** Reads what {@link hexDump} writes. */
export const fromHexDump = (text: string): Uint8Array =>
  Uint8Array.from(
    text
      .trim()
      .split('\n')
      .flatMap((line) =>
        line
          .replace(/^\s*\d+:/, '')
          .trim()
          .split(/\s+/),
      )
      .map((hex) => Number.parseInt(hex, 16)),
  );
