package authz

// limitMatrix says who may call what is about limits: each tenant's administrators for
// their own, the platform's for any.
func limitMatrix(admins string) map[string]string {
	out := make(map[string]string)
	for _, name := range []string{"ListLimits", "GetLimit", "SetLimit", "DeleteLimit", "GetLimitStatus"} {
		out["LimitService/"+name] = admins
	}
	return out
}
