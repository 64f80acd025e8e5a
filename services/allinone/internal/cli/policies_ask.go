package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// errPolicyCases says that cases failed: they are printed, the error is not.
var errPolicyCases = errors.New("cases do not hold")

func (a *app) policyTestCommand(tenant *string) *cobra.Command {
	var file string
	var version int64
	cmd := &cobra.Command{
		Use: "test [-f FILE|-]", Short: "Run the cases of what is in force, of a version or of a file", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := map[string]any{"tenant": *tenant, "version": version}
			if file != "" {
				source, err := readPolicyFile(cmd, file)
				if err != nil {
					return err
				}
				body["source"] = source
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, policiesPath+":test", body, &out); err != nil {
				return err
			}
			list, _ := out["results"].([]any)
			if err := a.print(list, columns("CASE name", "HOLDS holds", "DECISION decision", "RULE rule", "OBLIGATIONS obligations", "PROBLEM problem")); err != nil {
				return err
			}
			if n := cell(out["failed"]); n != "0" && n != "-" {
				return fmt.Errorf("%s of %d %w", n, len(list), errPolicyCases)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "a file with a policy; - for standard input")
	cmd.Flags().Int64Var(&version, "version", 0, "this version; 0 for the one in force")
	return cmd
}

// policyQuestion is the flags that describe a request.
type policyQuestion struct {
	callerTenant, subject, address, at, reference, owner string
	roles, groups, claims                                []string
	mtls, bound                                          bool
	age                                                  time.Duration
	tokens                                               int64
	class, arm, experiment, digest                       string
	version                                              int32
	labels, versionLabels                                map[string]string
	classGiven                                           bool
}

func (q *policyQuestion) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.callerTenant, "caller-tenant", "", "the caller's tenant; empty for the policy's")
	f.StringVar(&q.subject, "subject", "", "who asks")
	f.StringSliceVar(&q.roles, "role", nil, "their roles")
	f.StringSliceVar(&q.groups, "group", nil, "their groups")
	f.StringSliceVar(&q.claims, "claim", nil, "what their token says, as NAME=VALUE")
	f.StringVar(&q.owner, "resource-tenant", "", "whose the resource is; empty for the caller's")
	f.StringVar(&q.at, "time", "", "when, such as 2026-01-05T09:00:00Z; empty: when it is asked")
	f.StringVar(&q.address, "address", "", "from which address")
	f.BoolVar(&q.mtls, "mtls", false, "over a connection with a client certificate")
	f.BoolVar(&q.bound, "bound", false, "by credentials that are bound to a key")
	f.DurationVar(&q.age, "token-age", 0, "how old the credentials are")
	f.Int64Var(&q.tokens, "requested-tokens", 0, "how many tokens may be generated")
	f.StringVar(&q.class, "document-class", "", "the documents' class; not given: any, \"\" is none")
	f.StringToStringVar(&q.labels, "model-label", nil, "a label of the model, as NAME=VALUE; with any of these the registry is not asked")
	f.StringToStringVar(&q.versionLabels, "version-label", nil, "a label of the version that answers, as NAME=VALUE")
	f.Int32Var(&q.version, "model-version", 0, "its number")
	f.StringVar(&q.digest, "model-digest", "", "its digest")
	f.StringVar(&q.arm, "arm", "", "the arm by which the request comes to it")
	f.StringVar(&q.experiment, "experiment", "", "the experiment whose arm that is")
	f.StringVar(&q.reference, "model-reference", "", "what follows the model's name: an alias, v3 or a digest")
}

// policyCase is the case that an action, a resource and flags describe.
func (q *policyQuestion) policyCase(action, resource string) (map[string]any, error) {
	typ, id, _ := strings.Cut(resource, "/")
	caller := map[string]any{"tenant": q.callerTenant, "subject": q.subject, "roles": q.roles, "groups": q.groups}
	if len(q.claims) > 0 {
		claims := make(map[string]any)
		for _, c := range q.claims {
			name, value, ok := strings.Cut(c, "=")
			if !ok {
				return nil, usagef("--claim %s is not NAME=VALUE", c)
			}
			claims[name] = value
		}
		caller["claims"] = claims
	}
	about := map[string]any{
		"address": q.address, "mtls": q.mtls, "bound": q.bound, "requested_tokens": q.tokens, "model_reference": q.reference,
	}
	if q.classGiven {
		about["document_class"] = q.class
	}
	if len(q.labels)+len(q.versionLabels) > 0 || q.version != 0 || q.digest+q.arm+q.experiment != "" {
		about["model"] = map[string]any{
			"labels": q.labels, "version_labels": q.versionLabels, "version": q.version, "digest": q.digest, "arm": q.arm, "experiment": q.experiment,
		}
	}
	if q.at != "" {
		about["time"] = q.at
	}
	if q.age > 0 {
		about["token_age"] = fmt.Sprintf("%.3fs", q.age.Seconds())
	}
	return map[string]any{
		"caller": caller, "action": action, "resource": map[string]any{"type": typ, "id": id, "tenant": q.owner}, "context": about,
	}, nil
}

func (a *app) policyExplainCommand(tenant *string) *cobra.Command {
	var q policyQuestion
	var file string
	var version int64
	cmd := &cobra.Command{
		Use: "explain ACTION TYPE[/ID]", Short: "Say by which rule a request would be decided, and why", Args: exactArgs("ACTION", "TYPE[/ID]"),
		Example: "  poterne policies explain chat model/big --subject ada --group interns --time 2026-01-05T20:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.classGiven = cmd.Flags().Changed("document-class")
			question, err := q.policyCase(args[0], args[1])
			if err != nil {
				return err
			}
			body := map[string]any{"tenant": *tenant, "version": version, "case": question}
			if file != "" {
				if body["source"], err = readPolicyFile(cmd, file); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, policiesPath+":explain", body, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			return a.printExplanation(out)
		},
	}
	q.flags(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "by a file with a policy; - for standard input")
	cmd.Flags().Int64Var(&version, "version", 0, "by this version; 0 for the one in force")
	return cmd
}

func (a *app) printExplanation(out map[string]any) error {
	fmt.Fprintf(a.streams.Out, "%s: %s\nby %s\n", cell(out["decision"]), cell(out["reason"]), cell(out["policy"]))
	if o := out["obligations"]; o != nil {
		fmt.Fprintf(a.streams.Out, "obligations: %s\n", cell(o))
	}
	if filter := cell(out["document_filter"]); filter != "-" && filter != "" {
		fmt.Fprintf(a.streams.Out, "documents that may be seen: %s\n", filter)
	}
	if age := out["models_age"]; age != nil {
		fmt.Fprintf(a.streams.Out, "models as the registry told them %s ago\n", cell(age))
	}
	for _, part := range []struct {
		field string
		cols  []column
	}{
		{"versions", columns("VERSION version", "ARM arm", "EXPERIMENT experiment", "COPY shadow", "DECISION decision", "RULE rule")},
		{"roles", columns("ROLE role", "FROM origin")},
		{"rules", columns("RULE rule", "EFFECT effect", "APPLIES applies", "SUBJECT subject", "CONDITION condition", "VALUES values", "MISSING missing")},
	} {
		if list, _ := out[part.field].([]any); len(list) > 0 {
			fmt.Fprintln(a.streams.Out)
			if err := a.print(list, part.cols); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) policyDryRunCommand(tenant *string) *cobra.Command {
	var percent int
	cmd := &cobra.Command{
		Use: "dry-run [VERSION]", Short: "Have a version judge live requests without influence, 0 to end; without VERSION, what it would change", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				n, err := policyVersion(args[0])
				if err != nil {
					return err
				}
				return a.policyCall(cmd, policiesPath+":dryRun", map[string]any{"tenant": *tenant, "version": n, "percent": percent}, columns("VERSION version"))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, policiesPath+":dryRun?"+url.Values{"tenant": {*tenant}}.Encode(), nil, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			fmt.Fprintf(a.streams.Out, "version %s: %s requests judged, %s otherwise\n", cell(out["version"]), cell(out["judged"]), cell(out["different"]))
			if replicas, _ := out["replicas"].([]any); len(replicas) > 1 {
				if err := a.print(replicas, columns("REPLICA replica", "JUDGED judged", "DIFFERENT different", "UPDATED update_time")); err != nil {
					return err
				}
			}
			list, _ := out["differences"].([]any)
			return a.print(list, columns("TIME time", "REQUEST request_id", "TENANT tenant", "SUBJECT subject", "ACTION action", "RESOURCE resource",
				"DECISION decision", "RULE rule", "WOULD-BE new_decision", "BY new_rule"))
		},
	}
	cmd.Flags().IntVar(&percent, "percent", 100, "the share of requests that it judges")
	return cmd
}
