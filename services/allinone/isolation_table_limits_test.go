package allinone

// limitRequests name the tenant whose limit it is, or name none and ask about the
// caller's own with the tenant's names.
func limitRequests() map[string]request {
	const set = `"name":"{limit}","limit":{"kind":"LIMIT_KIND_REQUESTS","amount":1000000}`
	return map[string]request{
		"LimitService/ListLimits":         {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"LimitService/ListLimits+own":     {nothing: ownOne},
		"LimitService/GetLimit":           {json: `{"tenant":"{tenant}","name":"{limit}"}`, reads: true, tells: true},
		"LimitService/GetLimit+own":       {json: `{"name":"{limit}"}`},
		"LimitService/SetLimit":           {json: `{"tenant":"{tenant}",` + set + `}`},
		"LimitService/SetLimit+own":       {json: `{` + set + `,"validate_only":true}`},
		"LimitService/DeleteLimit":        {json: `{"tenant":"{tenant}","name":"{limit}"}`},
		"LimitService/DeleteLimit+own":    {json: `{"name":"{limit}"}`},
		"LimitService/GetLimitStatus":     {json: `{"tenant":"{tenant}"}`, reads: true},
		"LimitService/GetLimitStatus+key": {json: `{"key_id":"{key}","model":"{model}"}`},
		"LimitService/GetLimitStatus+of":  {json: `{"tenant":"{tenant}","key_id":"{key}","subject":"{subject}","user":"{group}"}`, reads: true},
	}
}
