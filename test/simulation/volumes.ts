/** Volumes that a VPG's one VM may have, by their number in the guests' log; two chunks each, of which the second is a short one. */
export const volumeNames: readonly string[] = ["data", "log", "extra"];

/** Those that it has from the first. */
export const simVolumes: readonly { readonly name: string; readonly sizeBytes: number }[] = [
  { name: "data", sizeBytes: 768 * 1024 },
  { name: "log", sizeBytes: 576 * 1024 },
];

/** A volume's number in the guests' log, whatever the journal calls it: a disk that is removed and added again is the same disk. */
export function diskNumber(name: string): number {
  const index = volumeNames.indexOf(name);
  if (index < 0) throw new TypeError(`no volume ${name}`);
  return index + 1;
}
