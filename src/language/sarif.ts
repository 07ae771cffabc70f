import { CATALOGUE, type DiagnosticCode } from './catalogue.ts';
import type { Diagnostic } from './diagnostic.ts';

/**
 * Findings as a SARIF 2.1.0 log with one run, as code hosts take them (GitHub: upload-sarif; GitLab: a report).
 *
 * Paths are written as URIs relative to the folder that the command ran in; an absolute one stays absolute. Columns
 * count UTF-16 code units. Source: OASIS sarif-v2.1.0-os.
 *
 * @param files all files that were looked at, those without findings too
 */
export function formatSarif(files: readonly string[], diagnostics: readonly Diagnostic[], version: string): object {
  const codes = [...new Set(diagnostics.map(({ code }) => code))].sort();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'headgate', version, rules: codes.map(ruleOf) } },
        columnKind: 'utf16CodeUnits',
        artifacts: files.map((file) => ({ location: { uri: uriOf(file) } })),
        results: diagnostics.map((diagnostic) => resultOf(diagnostic, codes.indexOf(diagnostic.code))),
      },
    ],
  };
}

function ruleOf(code: DiagnosticCode): object {
  const { severity, about, hint }: { severity: string; about: string; hint?: string } = CATALOGUE[code];
  return {
    id: code,
    shortDescription: { text: about },
    help: { text: `${hint === undefined ? '' : `${hint}\n`}See docs/language.md, "${code}".` },
    defaultConfiguration: { level: severity },
  };
}

function resultOf({ code, severity, message, hint, file, range }: Diagnostic, ruleIndex: number): object {
  const { start, end } = range;
  return {
    ruleId: code,
    ruleIndex,
    level: severity,
    message: { text: hint === undefined ? message : `${message}\n${hint}` },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri: uriOf(file) },
          region: { startLine: start.line, startColumn: start.column, endLine: end.line, endColumn: end.column },
        },
      },
    ],
  };
}

/** A path as a URI reference (RFC 3986); a `:` in its first part would read as a scheme. */
function uriOf(file: string): string {
  const path = file
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .split('/')
    .map((part) => encodeURIComponent(part))
    .join('/');
  return path.startsWith('/') ? `file://${path}` : path.replace(/^\.\//, '');
}
