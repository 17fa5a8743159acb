/** What a source may send. */
export const formats = {
  cloudtrail: "CloudTrail logs",
  scanner: "A leak scanner",
  text: "Forum or chat text",
} as const;
export type Format = keyof typeof formats;
