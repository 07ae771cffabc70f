import type { Prefix } from '../model/index.ts';
import { ConntrackReader } from './read-conntrack.ts';
import { RecordingReader } from './read-recording.ts';
import { Recording } from './recording.ts';

/** Reads a recording, or what conntrack(8) has printed: its first line says which. `inside` is for the latter. */
export async function readRecording(lines: AsyncIterable<string>, inside: readonly Prefix[]): Promise<Recording> {
  const recording = new Recording();
  let reader: { take(line: string): void } | undefined;
  for await (const line of lines) {
    if (line === '') continue;
    reader ??= line.startsWith('{') ? new RecordingReader(recording) : new ConntrackReader(recording, inside);
    reader.take(line);
  }
  return recording;
}
