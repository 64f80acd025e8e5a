package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// baseVariant is what a version's own weights are called.
const baseVariant = "base"

func (a *app) modelsVariantsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "variants MODEL[@VERSION]",
		Short: "List a version's variants: other forms of its weights, and what each loses",
		Long: `Lists the variants of a version, such as quantisations of its weights; the
version's own weights come first, as base. LOSS is by which share a variant is
worse than these, by its perplexity on some text, and is not there when nobody
measured it. SOURCE is what it was made from.

VERSION is a number (v3), an alias or a digest. Without one it is the version that
the alias production names, or else the only one.`,
		Args: exactArgs("MODEL[@VERSION]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := versionOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			variants := variantsOf(version)
			if a.settings.output != "table" {
				return a.print(variants, nil)
			}
			return a.print(variantRows(variants), variantColumns())
		},
	}
	cmd.AddCommand(a.modelsVariantsAddCommand(), a.modelsVariantsDeleteCommand())
	return cmd
}

func variantColumns() []column {
	return columns("VARIANT name", "SIZE size", "LOSS loss", "PERPLEXITY perplexity", "SOURCE source", "DIGEST digest")
}

func (a *app) modelsVariantsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete MODEL[@VERSION] VARIANT", Short: "Remove a variant of a version", Args: exactArgs("MODEL[@VERSION]", "VARIANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			version, err := versionOf(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, variantPath(version, args[1]), nil, nil)
		},
	}
}

// variantPath is where a version's variants are, or one of them. It names the
// version by its digest: that never means another one.
func variantPath(version map[string]any, variant ...string) string {
	return modelPath(fmt.Sprint(version["model"]), append([]string{"versions", fmt.Sprint(version["digest"]), "variants"}, variant...)...)
}

// versionPattern is how the registry is asked for a version.
var versionPattern = regexp.MustCompile(`^(v?[1-9][0-9]{0,8}|sha256:[0-9a-f]{64})$`)

// versionOf returns the version that a reference names: MODEL@v3, MODEL@alias,
// MODEL@sha256:…, or MODEL for what the alias production names, or else the
// model's only version.
func versionOf(ctx context.Context, c *client, reference string) (map[string]any, error) {
	model, version, given := strings.Cut(reference, "@")
	switch {
	case model == "" || given && version == "":
		return nil, usagef("a version is named MODEL, MODEL@v3, MODEL@ALIAS or MODEL@sha256:…, got %q", reference)
	case !given:
		n, err := productionOrOnly(ctx, c, model)
		if err != nil {
			return nil, err
		}
		version = n
	case !versionPattern.MatchString(version):
		n, err := aliased(ctx, c, model, version)
		if err != nil {
			return nil, err
		}
		version = n
	}
	var out map[string]any
	err := c.call(ctx, http.MethodGet, modelPath(model, "versions", version), nil, &out)
	return out, err
}

func aliased(ctx context.Context, c *client, model, alias string) (version string, err error) {
	var out map[string]any
	if err := c.call(ctx, http.MethodGet, modelPath(model, "aliases", alias), nil, &out); err != nil {
		return "", err
	}
	return fmt.Sprint(out["version"]), nil
}

func productionOrOnly(ctx context.Context, c *client, model string) (version string, err error) {
	version, err = aliased(ctx, c, model, "production")
	var known *apiError
	if err == nil || !errors.As(err, &known) || known.Code != "NOT_FOUND" {
		return version, err
	}
	var page struct{ Versions []map[string]any }
	query := url.Values{"page_size": {"2"}}
	if err := c.call(ctx, http.MethodGet, modelPath(model, "versions")+"?"+query.Encode(), nil, &page); err != nil {
		return "", err
	}
	switch len(page.Versions) {
	case 0:
		return "", fmt.Errorf("the model %s has no version", model)
	case 1:
		return fmt.Sprint(page.Versions[0]["number"]), nil
	default:
		return "", usagef("%s has several versions and no alias production: say which, as %s@v3", model, model)
	}
}

// variantsOf is a version's own weights, in the form of a variant, and its
// variants.
func variantsOf(version map[string]any) []any {
	base := map[string]any{
		"model": version["model"], "version": version["number"], "name": baseVariant, "digest": version["digest"],
		"spec": version["spec"], "size_bytes": weightBytes(version["spec"]),
		"description": version["description"], "create_time": version["create_time"],
	}
	variants, _ := version["variants"].([]any)
	return append([]any{base}, variants...)
}

// weightBytes is what the weights of a specification take on disk.
func weightBytes(spec any) int64 {
	var sum int64
	artifacts, _ := lookup(spec, "artifacts").([]any)
	for _, a := range artifacts {
		if roleOf(a) != "weights" {
			continue
		}
		n, err := strconv.ParseInt(fmt.Sprint(lookup(a, "size_bytes")), 10, 64)
		if err == nil {
			sum += n
		}
	}
	return sum
}

// roleOf is what an artifact is for.
func roleOf(artifact any) string {
	role, _ := lookup(artifact, "role").(string)
	return firstOf(role, "weights")
}

// variantRows is what the table shows of variants.
func variantRows(variants []any) []any {
	rows := make([]any, 0, len(variants))
	for _, v := range variants {
		row := map[string]any{"name": lookup(v, "name"), "digest": lookup(v, "digest")}
		if text := size(lookup(v, "size_bytes")); text != "" {
			row["size"] = text
		}
		quality := lookup(v, "quality")
		switch {
		case row["name"] == baseVariant:
			row["loss"] = percent(0)
		case quality != nil:
			source, _ := lookup(quality, "source").(string)
			row["loss"], row["source"] = percent(number(lookup(quality, "loss"))), firstOf(source, baseVariant)
			if p := number(lookup(quality, "perplexity")); p > 0 {
				row["perplexity"] = strconv.FormatFloat(p, 'f', 4, 64)
			}
		}
		rows = append(rows, row)
	}
	return rows
}
