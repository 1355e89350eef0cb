// See assert.d.ts for why these declarations exist.

declare module "@std/media-types/content-type" {
  /** The value of Content-Type for an extension such as ".html"; undefined for one that is not known. */
  export function contentType(extensionOrType: string): string | undefined;
}
