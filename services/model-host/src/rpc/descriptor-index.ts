import { createRegistry, type DescFile, type Registry, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** Finds the encoded file descriptors of what a server speaks. */
export class DescriptorIndex {
  readonly #types: Registry;
  readonly #byName = new Map<string, DescFile>();

  constructor(files: readonly DescFile[]) {
    const withImports = files.flatMap(closureOf);
    this.#types = createRegistry(...withImports);
    // The names in a descriptor end in .proto; the library's own do not.
    for (const file of withImports) this.#byName.set(file.proto.name, file);
  }

  byFilename(name: string): Uint8Array[] | undefined {
    return encode(this.#byName.get(name));
  }

  /** A message, enum, service or extension, or a member of one. */
  bySymbol(symbol: string): Uint8Array[] | undefined {
    const parent = symbol.slice(0, Math.max(0, symbol.lastIndexOf('.')));
    return encode((this.#types.get(symbol) ?? this.#types.get(parent))?.file);
  }

  hasMessage(typeName: string): boolean {
    return this.#types.getMessage(typeName) !== undefined;
  }
}

function encode(file: DescFile | undefined): Uint8Array[] | undefined {
  if (file === undefined) return undefined;
  return closureOf(file).map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
}

/** The file first, then all it imports. */
function closureOf(file: DescFile): DescFile[] {
  return [...new Set([file, ...file.dependencies.flatMap(closureOf)])];
}
