package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/declare"
)

func (a *app) policyDiffCommand(tenant *string) *cobra.Command {
	var unified bool
	cmd := &cobra.Command{
		Use: "diff FROM [TO]", Short: "Show in what two versions differ; TO is the one in force", Args: cobra.RangeArgs(1, 2),
		Long: "Show in what two versions differ, rule by rule: one that only moved is no difference.\nWith --unified, as a patch of the documents. FROM 0 is a policy without anything.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var numbers [2]int64
			for i, text := range args {
				n, err := policyVersion(text)
				if err != nil {
					return err
				}
				numbers[i] = n
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if unified {
				return a.printPatch(cmd, c, *tenant, numbers)
			}
			var out map[string]any
			body := map[string]any{"tenant": *tenant, "from": numbers[0], "to": numbers[1]}
			if err := c.call(cmd.Context(), http.MethodPost, policiesPath+":diff", body, &out); err != nil {
				return err
			}
			list, _ := out["differences"].([]any)
			if a.settings.output != "table" {
				return a.print(list, nil)
			}
			for i, one := range list {
				if i > 0 {
					fmt.Fprintln(a.streams.Out)
				}
				if err := a.printDifference(one); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&unified, "unified", "u", false, "as a patch of the documents, in YAML")
	return cmd
}

// printDifference shows one difference, a member of it a line, with - and + before
// those that differ.
func (a *app) printDifference(one any) error {
	fmt.Fprintf(a.streams.Out, "%s %s %s\n", cell(lookup(one, "change")), cell(lookup(one, "kind")), cell(lookup(one, "id")))
	var texts [2]string
	for i, side := range []string{"before", "after"} {
		text, _ := lookup(one, side).(string)
		var err error
		if texts[i], err = yamlOfJSON(text); err != nil {
			return err
		}
	}
	before, after := texts[0], texts[1]
	const whole = 1 << 16 // lines of context: all of it
	d, err := udiff.ToUnified("", "", before, udiff.Strings(before, after), whole)
	if err != nil {
		return err
	}
	for line := range strings.Lines(d) {
		if !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "+++") && !strings.HasPrefix(line, "@@") {
			fmt.Fprint(a.streams.Out, "  "+line[:1]+" "+line[1:])
		}
	}
	return nil
}

func yamlOfJSON(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return "", err
	}
	return yamlText(v)
}

// printPatch shows how one document becomes the other.
func (a *app) printPatch(cmd *cobra.Command, c *client, tenant string, numbers [2]int64) error {
	var texts, names [2]string
	for i, n := range numbers {
		path, field := joinPath(policiesPath, "versions", strconv.FormatInt(n, 10)), "version"
		switch {
		case n == 0 && i == 0:
			names[i] = "nothing"
			continue
		case n == 0:
			path, field = policiesPath, "active"
		}
		var out map[string]any
		if err := c.call(cmd.Context(), http.MethodGet, path+"?"+url.Values{"tenant": {tenant}}.Encode(), nil, &out); err != nil {
			return err
		}
		names[i] = "version " + cell(lookup(out, field+".version"))
		doc := lookup(out, field+".document")
		if doc == nil {
			names[i] = "nothing"
			continue
		}
		var err error
		if texts[i], err = yamlText(doc); err != nil {
			return err
		}
	}
	fmt.Fprint(a.streams.Out, udiff.Unified(names[0], names[1], texts[0], texts[1]))
	return nil
}

func yamlText(v any) (string, error) {
	raw, err := yaml.Marshal(declare.Numbers(v))
	if err != nil {
		return "", fmt.Errorf("write yaml: %w", err)
	}
	return string(raw), nil
}
