// What is built: by make in native-shim, and of src/web by src/setup/bundle.mjs. By ../../, from src/kernel and from dist/bundle.

import { fileURLToPath } from 'node:url';

const built = (name: string): string => fileURLToPath(new URL(`../../native-shim/build/${name}`, import.meta.url));

export const SHIM_LIBRARY = built('libheadgate.so');

/** The classifier: an object with a program for each direction (native-shim/bpf/steer.bpf.c). */
export const CLASSIFIER_OBJECT = built('steer.bpf.o');

/** The program that sends frames as they are given to it. */
export const INJECT = built('inject');

/** A file of the web page. */
export const pageFile = (name: string): string => fileURLToPath(new URL(`../../dist/web/${name}`, import.meta.url));
