/** Of each VPG's one VM: two chunks each, of which the second is a short one. */
export const simVolumes: readonly { readonly name: string; readonly sizeBytes: number }[] = [
  { name: "data", sizeBytes: 768 * 1024 },
  { name: "log", sizeBytes: 576 * 1024 },
];
