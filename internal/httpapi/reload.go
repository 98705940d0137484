package httpapi

import "net/http"

// PathReload reads the configuration again.
const PathReload = apiPrefix + "v1/reload"

// Reloaded is the answer to a reload that worked.
type Reloaded struct {
	// Changed are the keys whose values are others now.
	Changed []string `json:"changed"`
}

// reload answers 422 when the configuration is not one that the agent can take in; it goes
// on with the one that it has.
func (r Routes) reload(w http.ResponseWriter, _ *http.Request) {
	changed, err := r.Reload()
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	reply(w, http.StatusOK, Reloaded{changed})
}
