#!/usr/bin/env bash
# Makes a user with exactly the rights of manifests/operator-rbac.yaml in the cluster that KUBECONFIG names.
#   operator.sh OUT      writes its kubeconfig to OUT
#   operator.sh remove   removes the user again
set -euo pipefail
out=${1:?} account=nodewatch-test-operator
if [ "$out" = remove ]; then
  kubectl delete clusterrolebinding/$account clusterrole/nodewatch-operator >/dev/null
  kubectl -n default delete serviceaccount/$account >/dev/null
  exit 0
fi
manifests=$(cd "$(dirname "$0")/../../manifests" && pwd)
kubectl apply -f "$manifests/operator-rbac.yaml" >/dev/null
kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: ServiceAccount
metadata: {name: $account, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: $account}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nodewatch-operator}
subjects: [{kind: ServiceAccount, name: $account, namespace: default}]
Y
# Kubernetes before 1.24 makes a token by itself, a moment later.
token=
for _ in $(seq 50); do
  secret=$(kubectl -n default get serviceaccount $account -o 'jsonpath={.secrets[0].name}')
  [ -z "$secret" ] || token=$(kubectl -n default get secret "$secret" -o 'jsonpath={.data.token}' | base64 -d)
  [ -n "$token" ] || token=$(kubectl -n default create token $account --duration 8h 2>/dev/null || true)
  [ -n "$token" ] && break
  sleep 0.2
done
umask 077
kubectl config view --raw --flatten --minify -o json |
  TOKEN=${token:?no token for the operator} python3 -c '
import json, os, sys
config = json.load(sys.stdin)
config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": os.environ["TOKEN"]}}]
json.dump(config, sys.stdout)' >"$out"
