// What is built: by make in native-shim, and of src/web by src/setup/bundle.mjs. By ../../, from src/kernel and from dist/bundle.

import { fileURLToPath } from 'node:url';

const built = (name: string): string => fileURLToPath(new URL(`../../native-shim/build/${name}`, import.meta.url));

export const SHIM_LIBRARY = built('libheadgate.so');

/** The classifier: an object with a program for each direction (native-shim/bpf/steer.bpf.c). */
export const CLASSIFIER_OBJECT = built('steer.bpf.o');

/** The socket filter that copies conntrack events into a ring (native-shim/bpf/copy-events.bpf.c). */
export const COPIER_OBJECT = built('copy-events.bpf.o');

/** The program that sends frames as they are given to it. */
export const INJECT = built('inject');

/** The program that writes the packets of queues as pcap (native-shim/programs/capture.c). */
export const CAPTURE = built('capture');

/** The program that opens what leads nowhere once nobody else watches (native-shim/programs/guard.c). */
export const GUARD = built('guard');

/** A file of the web page. */
export const pageFile = (name: string): string => fileURLToPath(new URL(`../../dist/web/${name}`, import.meta.url));
