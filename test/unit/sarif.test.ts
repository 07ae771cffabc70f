import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageFile } from '../../src/lab/index.ts';
import { CATALOGUE, type Diagnostic, formatSarif, parsePolicy } from '../../src/language/index.ts';

interface Log {
  $schema: string;
  version: string;
  runs: {
    tool: {
      driver: {
        name: string;
        version: string;
        rules: {
          id: string;
          shortDescription: { text: string };
          help: { text: string };
          defaultConfiguration: { level: string };
        }[];
      };
    };
    columnKind: string;
    artifacts: { location: { uri: string } }[];
    results: {
      ruleId: string;
      ruleIndex: number;
      level: string;
      message: { text: string };
      locations: {
        physicalLocation: {
          artifactLocation: { uri: string };
          region: { startLine: number; startColumn: number; endLine: number; endColumn: number };
        };
      }[];
    }[];
  }[];
}

/** What sarif-v2.1.0-os asks of a log of this form; JSON.parse has seen that there is nothing that JSON has not. */
function validate(log: Log, count: number): void {
  expect(Object.keys(log).sort()).toEqual(['$schema', 'runs', 'version']);
  expect(log.version).toBe('2.1.0'); // 3.13.2
  expect(log.runs).toHaveLength(1);
  const [run] = log.runs;
  expect(Object.keys(run!).sort()).toEqual(['artifacts', 'columnKind', 'results', 'tool']);
  expect(run!.columnKind).toBe('utf16CodeUnits'); // 3.14.17
  const { driver } = run!.tool;
  expect(driver.name).toBe('headgate');
  expect(driver.version).toMatch(/^\d+\.\d+\.\d+$/);
  const ids = driver.rules.map((rule) => rule.id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const rule of driver.rules) {
    expect(Object.keys(CATALOGUE)).toContain(rule.id);
    expect(rule.shortDescription.text).not.toBe('');
    expect(['none', 'note', 'warning', 'error']).toContain(rule.defaultConfiguration.level); // 3.50.3
  }
  // RFC 3986: no blanks, no backslashes, whole escapes; a relative reference does not look like a scheme.
  const uri = /^(?:file:\/\/\/)?(?:[A-Za-z0-9\-._~!$&'()*+,;=@/]|%[0-9A-F]{2})*$/;
  for (const artifact of run!.artifacts) expect(artifact.location.uri).toMatch(uri);
  expect(run!.results).toHaveLength(count);
  for (const result of run!.results) {
    expect(ids[result.ruleIndex]).toBe(result.ruleId); // 3.27.6
    expect(['warning', 'error']).toContain(result.level);
    expect(result.message.text).not.toBe('');
    expect(result.locations).toHaveLength(1);
    const { artifactLocation, region } = result.locations[0]!.physicalLocation;
    expect(artifactLocation.uri).toMatch(uri);
    for (const n of Object.values(region)) expect(Number.isInteger(n) && n >= 1).toBe(true);
    expect(region.endLine > region.startLine || region.endColumn >= region.startColumn).toBe(true); // 3.30.7
  }
}

const sarif = (text: string, file: string) => {
  const { diagnostics } = parsePolicy(text, file);
  const log = JSON.parse(JSON.stringify(formatSarif([file], diagnostics, '1.2.3'))) as Log;
  validate(log, diagnostics.length);
  return log;
};

describe('formatSarif', () => {
  test('says where, what and what to do', () => {
    const log = sarif(
      'link wan { }\nqueue a { share 50% }\nrule r when tcp -> b\ndefault local -> a remote -> a new -> a\n',
      './my rules/a:b.gate',
    );
    expect(log.runs[0]!.results).toEqual([
      {
        ruleId: 'unknown-queue',
        ruleIndex: 0,
        level: 'error',
        message: { text: expect.stringMatching(/^there is no queue "b"\n/) },
        locations: [
          {
            physicalLocation: {
              artifactLocation: { uri: 'my%20rules/a%3Ab.gate' },
              region: { startLine: 3, startColumn: 20, endLine: 3, endColumn: 21 },
            },
          },
        ],
      },
    ]);
  });

  test('of nothing is a log without results', () => {
    expect((formatSarif([], [], '1.2.3') as Log).runs[0]!.results).toEqual([]);
  });

  test('any text, any name of a file', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 200 }),
        fc.string({ unit: 'binary', minLength: 1 }),
        (text, file) => void sarif(text, file),
      ),
      { numRuns: 500 },
    );
  });
});

describe('headgate check', () => {
  const GOOD = 'link wan { }\nqueue a { share 50% }\ndefault local -> a remote -> a new -> a\n';
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'headgate-test-'));
    writeFileSync(join(folder, 'good.gate'), GOOD);
    writeFileSync(join(folder, 'warned.gate'), `${GOOD}queue b { share 1% }\n`);
    writeFileSync(join(folder, 'bad.gate'), `${GOOD}rule r when tcp -> b\n`);
    mkdirSync(join(folder, 'parts'));
    writeFileSync(join(folder, 'whole.gate'), `${GOOD}include "parts/part.gate"\n`);
    writeFileSync(join(folder, 'parts/part.gate'), 'rule r when tcp\n  and udq -> a\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const check = (...args: string[]) =>
    spawnSync(process.execPath, [packageFile('dist/cli/headgate.js'), 'check', ...args], {
      encoding: 'utf8',
      cwd: folder,
    });

  test('of several files says what became of each; 1 with an error, 0 with warnings alone', () => {
    const { status, stdout, stderr } = check('good.gate', 'warned.gate', 'bad.gate');
    expect(status).toBe(1);
    expect(stdout.split('\n')).toEqual([
      'good.gate: ok (1 link, 1 queue, 0 rules)',
      'warned.gate: ok, 1 warning (1 link, 2 queues, 0 rules)',
      'bad.gate: 1 error',
      '',
    ]);
    expect(stderr).toContain('bad.gate:4:20: error: there is no queue "b"');
    expect(check('good.gate', 'warned.gate').status).toBe(0);
  });

  test('shows a finding in an included file with its line', () => {
    const { status, stderr } = check('whole.gate');
    expect(status).toBe(1);
    expect(stderr).toContain('parts/part.gate:2:7: error: ');
    expect(stderr).toContain('  2 |   and udq -> a\n');
  });

  test('a file that cannot be read: 2, and the others are checked', () => {
    const { status, stdout, stderr } = check('nowhere.gate', 'bad.gate');
    expect([status, stdout]).toEqual([2, 'bad.gate: 1 error\n']);
    expect(stderr).toContain('cannot read nowhere.gate');
  });

  test('--json is one object for all of them', () => {
    const { status, stdout } = check('--json', 'good.gate', 'bad.gate');
    expect(status).toBe(1);
    const { ok, files, diagnostics } = JSON.parse(stdout) as { ok: boolean; files: unknown; diagnostics: Diagnostic[] };
    expect([ok, files]).toEqual([
      false,
      [
        { file: 'good.gate', ok: true, rules: [] },
        { file: 'bad.gate', ok: false, rules: [] },
      ],
    ]);
    expect(diagnostics.map(({ file, code }) => [file, code])).toEqual([['bad.gate', 'unknown-queue']]);
    expect(JSON.parse(check('--json', 'good.gate').stdout)).toEqual({
      ok: true,
      files: [{ file: 'good.gate', ok: true, rules: [] }],
      diagnostics: [],
    });
  });

  test('--sarif and --json together are wrong usage', () => {
    const { status, stdout, stderr } = check('--sarif', '--json', 'whole.gate');
    expect([status, stdout]).toEqual([2, '']);
    expect(JSON.parse(stderr).error).toMatchObject({ code: 'HG_USAGE', message: expect.stringContaining('--json') });
  });

  test('--sarif is a log for a code host', () => {
    const { status, stdout, stderr } = check('--sarif', 'bad.gate', 'warned.gate', 'whole.gate');
    expect([status, stderr]).toEqual([1, '']);
    const log = JSON.parse(stdout) as Log;
    validate(log, 3);
    expect(
      log.runs[0]!.results.map(({ ruleId, level, locations }) => [
        ruleId,
        level,
        locations[0]!.physicalLocation.artifactLocation.uri,
      ]),
    ).toEqual([
      ['unknown-queue', 'error', 'bad.gate'],
      ['unreached-queue', 'warning', 'warned.gate'],
      ['unknown-word', 'error', 'parts/part.gate'],
    ]);
  });
});
