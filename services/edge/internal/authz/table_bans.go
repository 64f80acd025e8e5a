package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// banMethods is administration of the platform: a ban holds for every tenant.
func banMethods() map[string]Method {
	return map[string]Method{
		edgev1.BanService_CreateBan_FullMethodName: {Type: "ban", Action: "create", Platform: true},
		edgev1.BanService_ListBans_FullMethodName:  {Type: "ban", Action: "list", Platform: true},
		edgev1.BanService_LiftBan_FullMethodName:   {Type: "ban", Action: "lift", Platform: true},
	}
}
