package cli

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/cobra"
)

const (
	// leakedAtOnce is how many texts one request may have.
	leakedAtOnce = 1000
	// maxLeakedLine bounds a line of what a scanner found.
	maxLeakedLine = 64 << 10
	// keyForm is what keys look like; the gateway compares their checksums too.
	keyForm = `ptn_[0-9a-hjkmnp-tv-z]{16}_[0-9A-Za-z]{49}`
)

func (a *app) keysCheckLeakedCommand() *cobra.Command {
	var revoke bool
	cmd := &cobra.Command{
		Use: "check-leaked [FILE]", Short: "Tell which lines of a file, or of standard input, hold API keys",
		Long: `Tell which lines of a file, or of standard input, hold API keys, and revoke them
with --revoke. Only what looks like a key is sent to the gateway, and lines are
shown by their numbers only. Keys are read from no argument: other users of the
machine can see those.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := a.streams.In
			if len(args) == 1 {
				f, err := os.Open(args[0])
				if err != nil {
					return fmt.Errorf("what was found: %w", err)
				}
				defer f.Close()
				in = f
			}
			texts, numbers, err := leakedLines(in)
			if err != nil {
				return err
			}
			return a.checkLeaked(cmd, texts, numbers, revoke)
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "revoke those that are")
	return cmd
}

// leakedLines are what may be keys, and the numbers of their lines.
func leakedLines(in io.Reader) (texts []string, numbers []int, err error) {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLeakedLine)
	form := regexp.MustCompile(keyForm)
	for n := 1; scanner.Scan(); n++ {
		for _, text := range form.FindAllString(scanner.Text(), -1) {
			texts, numbers = append(texts, text), append(numbers, n)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, nil, fmt.Errorf("what was found: %w", err)
	}
	return texts, numbers, nil
}

func (a *app) checkLeaked(cmd *cobra.Command, texts []string, numbers []int, revoke bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	rows := []any{}
	for part := range slices.Chunk(texts, leakedAtOnce) {
		var out struct {
			Results []map[string]any `json:"results"`
		}
		body := map[string]any{"texts": part, "revoke": revoke}
		if err := c.call(cmd.Context(), http.MethodPost, keysPath+":checkLeaked", body, &out); err != nil {
			return err
		}
		for i, result := range out.Results[:min(len(out.Results), len(part))] {
			result["line"] = numbers[i]
			if formed, _ := result["well_formed"].(bool); formed {
				rows = append(rows, result)
			}
		}
		numbers = numbers[len(part):]
	}
	return a.print(rows, columns("LINE line", "FOUND found", "ID id", "STATE state "+keyStatePrefix, "REVOKED revoked", "TENANT api_key.tenant", "OWNER api_key.owner"))
}
