package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"
)

const policiesPath = "/v1/admin/policies"

// maxPolicyFile bounds what is read of a policy's file; the gateway takes less.
const maxPolicyFile = 16 << 20

const policiesLong = `Policies say who may do what. Each tenant has one, about its own callers and
resources; that of the platform's tenant is the platform's. A file is YAML, JSON,
or lines of p and g:

  rules:
    - id: interns-short
      subject: group:interns       # user:, group:, role:, tenant: or public
      type: model                  # default: all
      action: chat|complete
      condition: hour >= 8 && hour < 18
      effect: allow                # or deny, which overrides every allow
      obligations: {max_tokens: 256}
  cases:                           # must hold, or the policy is not accepted
    - name: an intern in the morning
      caller: {subject: ada, groups: [interns]}
      action: chat
      resource: {type: model, id: small}
      context: {time: "2026-01-05T09:00:00Z"}
      expect: allow`

func (a *app) policiesCommand() *cobra.Command {
	var tenant string
	cmd := group("policies", "Who may do what: policies, their versions, tests and explanations",
		a.policyGetCommand(&tenant), a.policyApplyCommand(&tenant), a.policyHistoryCommand(&tenant), a.policyDiffCommand(&tenant),
		a.policyActivateCommand(&tenant), a.policyDeactivateCommand(&tenant), a.policyRollbackCommand(&tenant), a.policyTestCommand(&tenant), a.policyExplainCommand(&tenant),
		a.policyDryRunCommand(&tenant))
	cmd.Long = policiesLong
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "whose policy; empty for your own tenant's")
	return cmd
}

// policyCall makes a call and prints the answer.
func (a *app) policyCall(cmd *cobra.Command, path string, body map[string]any, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var out map[string]any
	if err := c.call(cmd.Context(), http.MethodPost, path, body, &out); err != nil {
		return err
	}
	return a.print(out, cols)
}

func versionColumns(prefix string) []column {
	return columns("VERSION "+prefix+"version", "DIGEST "+prefix+"digest", "AUTHOR "+prefix+"author", "CREATED "+prefix+"create_time", "MESSAGE "+prefix+"message")
}

func (a *app) policyGetCommand(tenant *string) *cobra.Command {
	var version int64
	cmd := &cobra.Command{
		Use: "get", Short: "Show what is in force, or another version; -o yaml shows the document", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path, field := policiesPath, "active"
			if version > 0 {
				path, field = joinPath(policiesPath, "versions", strconv.FormatInt(version, 10)), "version"
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, path+"?"+url.Values{"tenant": {*tenant}}.Encode(), nil, &out); err != nil {
				return err
			}
			if a.settings.output == "yaml" {
				return a.printYAML(lookup(out, field+".document"))
			}
			if version > 0 {
				return a.print(out, versionColumns("version."))
			}
			return a.print(out, columns("TENANT tenant", "VERSION active.version", "ETAG etag", "AUTHOR active.author", "MESSAGE active.message",
				"DRY-RUN dry_run_version", "POLICY policy", "PROBLEM problem"))
		},
	}
	cmd.Flags().Int64Var(&version, "version", 0, "this version; 0 for the one in force")
	return cmd
}

func (a *app) policyApplyCommand(tenant *string) *cobra.Command {
	var file, message, etag string
	var draft, force, check bool
	cmd := &cobra.Command{
		Use: "apply -f FILE|-", Short: "Check a policy, keep it as a new version and put it into force", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			source, err := readPolicyFile(cmd, file)
			if err != nil {
				return err
			}
			return a.policyCall(cmd, policiesPath+"/versions", map[string]any{
				"tenant": *tenant, "source": source, "message": message, "activate": !draft, "etag": etag, "force": force, "validate_only": check,
			}, append(versionColumns("version."), columns("ETAG etag")...))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "the file; - for standard input")
	f.StringVarP(&message, "message", "m", "", "why")
	f.StringVar(&etag, "etag", "", "only when what is in force has this etag")
	f.BoolVar(&draft, "draft", false, "keep it only, and put it into force later")
	f.BoolVar(&force, "force", false, "also when you could then no longer change policies")
	f.BoolVar(&check, "check", false, "only check it")
	return cmd
}

func readPolicyFile(cmd *cobra.Command, file string) (string, error) {
	if file == "" {
		return "", usagef("-f FILE is required")
	}
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	if len(data) > maxPolicyFile {
		return "", fmt.Errorf("%s is larger than %d bytes", file, maxPolicyFile)
	}
	return string(data), nil
}

func (a *app) policyHistoryCommand(tenant *string) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history", Short: "List the versions, newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, policiesPath+"/versions", url.Values{"tenant": {*tenant}}, "versions", limit, versionColumns(""))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "at most this many; 0 for all")
	return cmd
}

func policyVersion(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, usagef("%q is not the number of a version", text)
	}
	return n, nil
}

func (a *app) policyActivateCommand(tenant *string) *cobra.Command {
	var etag string
	var force bool
	cmd := &cobra.Command{
		Use: "activate VERSION", Short: "Put a version into force", Args: exactArgs("VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := policyVersion(args[0])
			if err != nil {
				return err
			}
			if n == 0 {
				return usagef("versions begin with 1; policies deactivate takes the policy out of force")
			}
			return a.policyCall(cmd, policiesPath+":activate", map[string]any{"tenant": *tenant, "version": n, "etag": etag, "force": force},
				columns("VERSION version", "ETAG etag"))
		},
	}
	cmd.Flags().StringVar(&etag, "etag", "", "only when what is in force has this etag")
	cmd.Flags().BoolVar(&force, "force", false, "also when its cases no longer hold, or you could then no longer change policies")
	return cmd
}

func (a *app) policyRollbackCommand(tenant *string) *cobra.Command {
	var message, etag string
	var force bool
	cmd := &cobra.Command{
		Use: "rollback VERSION", Short: "Put a new version that equals an old one into force", Args: exactArgs("VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := policyVersion(args[0])
			if err != nil {
				return err
			}
			return a.policyCall(cmd, policiesPath+":rollback",
				map[string]any{"tenant": *tenant, "version": n, "message": message, "etag": etag, "force": force},
				append(versionColumns("version."), columns("ETAG etag")...))
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "why")
	cmd.Flags().StringVar(&etag, "etag", "", "only when what is in force has this etag")
	cmd.Flags().BoolVar(&force, "force", false, "also when its cases no longer hold, or you could then no longer change policies")
	return cmd
}
