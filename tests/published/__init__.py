"""The published clients, futu-api and moomoo-api, in processes of their own."""
