package rest

import (
	"context"

	"ordo/api"
)

func (s *Server) goodsRoutes() {
	route(s, s.op("list-products", "GET /v1/products", anybody,
		"Products by name and category, ordered by id"), s.listProducts)
	route(s, s.op("list-categories", "GET /v1/categories", anybody,
		"The categories directly below a path"), s.listCategories)
	route(s, s.op("get-product", "GET /v1/products/{id}", anybody, "A product with its SKUs"),
		s.getProduct)
	route(s, s.op("get-sku", "GET /v1/skus/{id}", anybody, "A SKU with its price and stock"),
		s.getSKU)
}

type productsInput struct {
	PageQuery
	Search   string `query:"search" maxLength:"200" doc:"Words that the name must all contain."`
	Category string `query:"category" maxLength:"200" doc:"A path such as Men/Tops."`
}

// listProducts is row C3.
func (s *Server) listProducts(ctx context.Context, in *productsInput) (
	*answer[passed[api.ProductList]], error) {
	return pass[api.ProductList](ctx, s,
		&api.ListProducts{Page: in.page(), Search: in.Search, Category: in.Category})
}

type categoriesInput struct {
	PageQuery
	Under string `query:"under" maxLength:"200" doc:"A path such as Men; the first level if not said."`
}

func (s *Server) listCategories(ctx context.Context, in *categoriesInput) (
	*answer[passed[api.CategoryList]], error) {
	return pass[api.CategoryList](ctx, s, &api.ListCategories{Page: in.page(), Under: in.Under})
}

func (s *Server) getProduct(ctx context.Context, in *ByID) (
	*answer[passed[api.Product]], error) {
	return pass[api.Product](ctx, s, &api.GetProduct{ID: in.ID})
}

func (s *Server) getSKU(ctx context.Context, in *ByID) (*answer[api.SKU], error) {
	skus, err := s.skus(ctx, []string{in.ID})
	if err != nil {
		return nil, err
	}
	if sku, ok := skus[in.ID]; ok {
		return &answer[api.SKU]{*sku}, nil
	}
	return nil, api.Refuse(api.CodeNotFound, "there is no SKU %q", in.ID)
}

// skus are the SKUs that exist of those asked for.
func (s *Server) skus(ctx context.Context, ids []string) (map[string]*api.SKU, error) {
	var list api.SKUList
	if err := s.Edge.Ask(ctx, &api.GetSKUs{IDs: ids}, &list); err != nil {
		return nil, err
	}
	all := make(map[string]*api.SKU, len(list.SKUs))
	for i := range list.SKUs {
		all[list.SKUs[i].ID] = &list.SKUs[i]
	}
	return all, nil
}

// onSale is the SKU if it can be ordered, else CodeUnknownSKU.
func onSale(skus map[string]*api.SKU, id string) (*api.SKU, *api.Error) {
	if sku := skus[id]; sku != nil && !sku.OffSale {
		return sku, nil
	}
	return nil, api.Refuse(api.CodeUnknownSKU, "no SKU %q is on sale", id)
}
