// Command build turns what protoc-gen-connect-openapi makes of the contract
// into the document that the edge serves: that generator knows neither the JSON
// forms of poterne.common.v1 nor our errors, credentials and streams. It reads
// standard input and writes standard output; with the argument pack it packs that
// document instead.
package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// object is a JSON object of the document.
type object = map[string]any

func main() {
	work := run
	if len(os.Args) == 2 && os.Args[1] == "pack" {
		work = pack
	}
	if err := work(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(in io.Reader, out io.Writer) error {
	var doc object
	if err := json.NewDecoder(in).Decode(&doc); err != nil {
		return fmt.Errorf("read the generated document: %w", err)
	}
	c, err := described()
	if err != nil {
		return err
	}
	for _, step := range []func(object, *descriptors) error{
		describe, messages, operations, tensors, imports, backups, archives, auditExport, usageExport, files, mlflowCalls, reachable, names,
	} {
		if err := step(doc, c); err != nil {
			return err
		}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func pack(in io.Reader, out io.Writer) error {
	w, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, in); err != nil {
		return fmt.Errorf("pack the document: %w", err)
	}
	return w.Close()
}

// at returns the object at the path below o, made where it is missing.
func at(o object, path ...string) object {
	for _, key := range path {
		next, ok := o[key].(object)
		if !ok {
			next = object{}
			o[key] = next
		}
		o = next
	}
	return o
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }
