// Command poterne-pdf reads a PDF from standard input and writes its title and its
// text, or what is wrong with it, to standard output as JSON. The search service
// runs it for each file: what a file costs ends with the process.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/extract"
	"github.com/poterne/poterne/services/search/internal/pdfium"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "poterne-pdf:", err)
		os.Exit(1)
	}
}

func run() error {
	var l pdfium.Limits
	var input int64
	flag.Int64Var(&input, "input", 8<<20, "how many bytes the file may have")
	flag.IntVar(&l.OutputBytes, "output", 4<<20, "how many bytes its text may have")
	flag.IntVar(&l.Pages, "pages", 2000, "how many pages it may have")
	flag.IntVar(&l.Memory, "memory", 256<<20, "how many bytes of memory reading it may take")
	flag.StringVar(&l.CacheDir, "cache", "", "a directory for the compiled sandbox, of this user alone; empty for none")
	limit := flag.Duration("time", 20*time.Second, "how long reading it may take, once the sandbox is there")
	flag.Parse()
	content, err := io.ReadAll(io.LimitReader(os.Stdin, input))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit+extract.PDFStart)
	defer cancel()
	var out extract.PDFAnswer
	out.Title, out.Text, err = pdfium.Read(ctx, content, l)
	switch e, ours := errors.AsType[*apierr.Error](err); {
	case ours:
		out = extract.PDFAnswer{Reason: e.Reason, Message: e.Message}
	case err != nil:
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
