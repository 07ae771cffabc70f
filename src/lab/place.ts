import { fileURLToPath } from 'node:url';

/** The absolute path of a file of the package; the same from src/ (tests) and from dist/. */
export const packageFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
