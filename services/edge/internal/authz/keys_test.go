package authz

// keyMatrix: whoever administers a tenant administers its keys and accounts.
func keyMatrix(admins string) map[string]string {
	out := map[string]string{"AdminService/UpdateApiKey": admins, "AdminService/RotateApiKey": admins, "AdminService/CheckLeakedApiKeys": admins}
	for _, verb := range []string{"Create", "Get", "Update", "Disable", "Enable", "Delete"} {
		out["ServiceAccountService/"+verb+"ServiceAccount"] = admins
	}
	out["ServiceAccountService/ListServiceAccounts"] = admins
	return out
}
