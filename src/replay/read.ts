import { HeadgateError, type Prefix } from '../model/index.ts';
import { ConntrackReader, isFrame } from './read-conntrack.ts';
import { RecordingReader } from './read-recording.ts';
import { Recording } from './recording.ts';

/**
 * Reads a recording, or what conntrack(8) has printed: its first line says which. `inside` is for the latter.
 *
 * @param file where the lines are from
 * @throws HeadgateError HG_FILE where no line can be read, or there is none
 */
export async function readRecording(
  lines: AsyncIterable<string>,
  inside: readonly Prefix[],
  file: string,
): Promise<Recording> {
  const recording = new Recording();
  let reader: { take(line: string): void } | undefined;
  let [number, read, first] = [0, 0, 0];
  for await (const line of lines) {
    number++;
    if (line.trim() === '' || isFrame(line)) continue;
    const before = recording.torn;
    reader ??= line.startsWith('{') ? new RecordingReader(recording) : new ConntrackReader(recording, inside);
    reader.take(line);
    if (recording.torn === before) read++;
    else if (first === 0) first = number;
  }
  if (read === 0) {
    const problem =
      first === 0
        ? 'there is no flow in it'
        : `line ${first} and those behind it are neither of a recording nor of what conntrack prints`;
    throw new HeadgateError('HG_FILE', { file, problem });
  }
  return recording;
}
